// Which page is where. A new one is a row here, and one of a list below if it is in the menu.

import type { Component } from 'svelte';

import type { IconName } from '../ui/Icon.svelte';
import About from './About.svelte';
import Analytics from './Analytics.svelte';
import Apps from './Apps.svelte';
import Balancers from './Balancers.svelte';
import Certificates from './Certificates.svelte';
import Clients from './Clients.svelte';
import Dnssec from './Dnssec.svelte';
import Firewall from './Firewall.svelte';
import History from './History.svelte';
import HttpAnalytics from './HttpAnalytics.svelte';
import Live from './Live.svelte';
import Me from './Me.svelte';
import Overview from './Overview.svelte';
import People from './People.svelte';
import Pools from './Pools.svelte';
import Records from './Records.svelte';
import Settings from './Settings.svelte';
import Tokens from './Tokens.svelte';
import Trace from './Trace.svelte';
import Tunnel from './Tunnel.svelte';
import Tunnels from './Tunnels.svelte';
import Zones from './Zones.svelte';

// Each page takes what its path names.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export const PAGES: [string, Component<any>][] = [
  ['/', Overview],
  ['/zones', Zones],
  ['/zones/:id/records', Records],
  ['/zones/:id/analytics', Analytics],
  ['/zones/:id/http', HttpAnalytics],
  ['/zones/:id/live', Live],
  ['/zones/:id/dnssec', Dnssec],
  ['/zones/:id/certificates', Certificates],
  ['/zones/:id/clients', Clients],
  ['/zones/:id/firewall', Firewall],
  ['/zones/:id/applications', Apps],
  ['/zones/:id/balancers', Balancers],
  ['/zones/:id/trace', Trace],
  ['/zones/:id/settings', Settings],
  ['/tunnels', Tunnels],
  ['/tunnels/:id', Tunnel],
  ['/pools', Pools],
  ['/firewall', Firewall],
  ['/tokens', Tokens],
  ['/people', People],
  ['/history', History],
  ['/me', Me],
  ['/about', About],
];

interface Entry {
  name: string;
  path: string;
  icon: IconName;
}

export const OF_ACCOUNT: { name: string; pages: Entry[] }[] = [
  {
    name: '',
    pages: [
      { name: 'Overview', path: '/', icon: 'home' },
      { name: 'Zones', path: '/zones', icon: 'globe' },
      { name: 'Tunnels', path: '/tunnels', icon: 'tunnel' },
      { name: 'Pools', path: '/pools', icon: 'scale' },
      { name: 'Firewall', path: '/firewall', icon: 'shield' },
    ],
  },
  { name: 'This edge', pages: [
      { name: 'API tokens', path: '/tokens', icon: 'key' },
      { name: 'People', path: '/people', icon: 'people' },
      { name: 'History', path: '/history', icon: 'clock' },
      { name: 'About', path: '/about', icon: 'stamp' },
    ] },
];

export const OF_ZONE: Entry[] = [
  { name: 'DNS records', path: 'records', icon: 'list' },
  { name: 'DNS analytics', path: 'analytics', icon: 'chart' },
  { name: 'HTTP analytics', path: 'http', icon: 'chart' },
  { name: 'Live', path: 'live', icon: 'pulse' },
  { name: 'DNSSEC', path: 'dnssec', icon: 'stamp' },
  { name: 'Certificates', path: 'certificates', icon: 'lock' },
  { name: 'Client certificates', path: 'clients', icon: 'key' },
  { name: 'Firewall', path: 'firewall', icon: 'shield' },
  { name: 'Applications', path: 'applications', icon: 'plug' },
  { name: 'Load balancers', path: 'balancers', icon: 'scale' },
  { name: 'Why this answer', path: 'trace', icon: 'search' },
  { name: 'Settings', path: 'settings', icon: 'sliders' },
];
