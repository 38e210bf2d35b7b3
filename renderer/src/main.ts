import { mount } from 'svelte';
import { config } from 'zod';
import App from './App.svelte';
import { queue } from './state/queue.svelte.ts';
import './styles/tokens.css';
import './styles/base.css';
import './styles/controls.css';

// Its compiled parsers need eval, which the page's policy forbids.
config({ jitless: true });

const target = document.getElementById('app');
if (!target) throw new Error('index.html has no #app');
queue.start();
mount(App, { target });
