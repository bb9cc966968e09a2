import './app.css';

import { mount } from 'svelte';

import App from './App.svelte';

// After an upgrade of the edge an open page may want a part of the old version, which is gone: the new one is taken.
addEventListener('vite:preloadError', () => location.reload());

const target = document.getElementById('app');
if (target) mount(App, { target });
