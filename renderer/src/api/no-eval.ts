import { config } from 'zod';

// Zod's compiled parsers need eval, which the page's policy forbids. Imported before the first schema is made.
config({ jitless: true });
