import './api/no-eval.ts';
import { mount } from 'svelte';
import App from './App.svelte';
import { queue } from './state/queue.svelte.ts';
import { settings } from './state/settings.svelte.ts';
import './styles/tokens.css';
import './styles/base.css';
import './styles/controls.css';

const target = document.getElementById('app');
if (!target) throw new Error('index.html has no #app');
settings.start();
queue.start();
mount(App, { target });
