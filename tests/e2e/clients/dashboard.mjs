// A person at the dashboard: node dashboard.mjs MODULES PART LINK, with the first line of `up` in EDGE. What is clicked and read
// here is what people see: labels, buttons, headings. The last line is what the test wants to know.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { Resolver } from 'node:dns/promises';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';

const [modules, part, link] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const edge = JSON.parse(process.env.EDGE);
const root = edge.dashboard;

// The machine may be busy; nothing here takes long by itself.
const WAIT = Number(process.env.WAIT_MS ?? 90_000);
const PASSWORD = 'quiet harbour lantern';

/** At a desk by day, and on a phone at night. */
const LOOKS = [
  { colorScheme: 'light', viewport: { width: 1280, height: 900 } },
  { colorScheme: 'dark', viewport: { width: 390, height: 844 } },
];

const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
const complaints = [];

async function open(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(WAIT);
  const page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => /Content Security|Trusted/.test(message.text()) && complaints.push(message.text()));
  page.on('dialog', (dialog) => complaints.push(`a script of others ran: ${dialog.message()}`));
  return page;
}

const button = (page, name) => page.getByRole('button', { name, exact: true });
const heading = (page, name) => page.getByRole('heading', { name, level: 1 }).waitFor();
const row = (page, text) => page.getByRole('row').filter({ hasText: text });

const parts = {
  async zone() {
    const page = await open();
    await page.goto(link);
    await heading(page, 'Overview');
    assert.ok(!page.url().includes('login'), 'the code of the link does not stay in the address');

    // What others have made is said, with their terms.
    await page.getByRole('link', { name: 'About' }).click();
    await heading(page, 'About');
    await page.locator('pre').filter({ hasText: 'svelte 5.' }).filter({ hasText: 'uplot 1.' }).waitFor();

    // A password, so that one can come back.
    await page.getByRole('link', { name: 'Set a password' }).click();
    await page.getByLabel('New password').fill('short');
    await page.getByLabel('The same again').fill('short');
    await button(page, 'Set the password').click();
    await page.getByRole('alert').filter({ hasText: 'characters' }).first().waitFor();
    await page.getByLabel('New password').fill(PASSWORD);
    await page.getByLabel('The same again').fill(PASSWORD);
    await button(page, 'Set the password').click();
    await page.getByText('Your password is set').waitFor();

    // A zone.
    await page.getByRole('link', { name: 'Zones', exact: true }).click();
    await page.getByRole('link', { name: 'Add a zone' }).first().click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name').fill('no zone');
    await button(dialog, 'Add the zone').click();
    await dialog.getByRole('alert').first().waitFor();
    await dialog.getByLabel('Name').fill('page.example');
    await button(dialog, 'Add the zone').click();
    await heading(page, 'DNS records');
    await page.getByText('No record yet').waitFor();
    const zone = page.url().match(/zones\/([0-9a-f]{32})/)[1];

    // A record: what is wrong is said at its field, by the page and by the API.
    await button(page, 'Add record').first().click();
    let form = page.getByRole('form', { name: 'Add a record' });
    await form.getByLabel('Name').fill('www');
    await form.getByLabel('IPv4 address').fill('2001:db8::1');
    await form.getByText('take type AAAA').waitFor();
    await form.getByLabel('IPv4 address').fill('192.0.2.1');
    await form.getByLabel('Comment').fill('x'.repeat(600));
    await button(form, 'Add record').click();
    await form.getByRole('alert').filter({ hasText: 'omment' }).first().waitFor();
    await form.getByLabel('Comment').fill('<b>bold</b>');
    await form.getByRole('switch').click();
    await form.getByText('reach this edge').waitFor();
    await button(form, 'Add record').click();
    await row(page, '192.0.2.1').getByText('<b>bold</b>').waitFor();
    await page.getByText('www.page.example A is added').waitFor();

    // The cloud goes off and on again.
    await row(page, '192.0.2.1').getByRole('switch').click();
    await row(page, '192.0.2.1').getByText('DNS only').waitFor();
    await row(page, '192.0.2.1').getByRole('switch').click();
    await row(page, '192.0.2.1').getByText('Proxied').waitFor();

    // Names and texts of strangers are texts.
    await button(page, 'Add record').first().click();
    form = page.getByRole('form', { name: 'Add a record' });
    await form.getByLabel('Type').selectOption('TXT');
    await form.getByLabel('Name').fill('evil');
    await form.getByLabel('Text').fill('<img src=x onerror=alert(1)><script>alert(2)</script>');
    await button(form, 'Add record').click();
    await row(page, 'onerror=alert').waitFor();
    assert.equal(await page.locator('table img, table script').count(), 0);

    // Changed in its row, without a mouse.
    await button(page, 'Add record').first().click();
    form = page.getByRole('form', { name: 'Add a record' });
    await form.getByLabel('Type').selectOption('MX');
    await form.getByLabel('Name').fill('@');
    await form.getByLabel('Priority').fill('20');
    await form.getByLabel('Mail server').fill('mail.page.example');
    await form.getByLabel('Mail server').press('Enter');
    await row(page, '20 mail.page.example').waitFor();
    await button(row(page, '20 mail.page.example'), 'Edit page.example MX').focus();
    await page.keyboard.press('Enter');
    form = page.getByRole('form', { name: 'Edit page.example MX' });
    await form.getByLabel('Priority').fill('10');
    await form.getByLabel('Priority').press('Enter');
    await row(page, '10 mail.page.example').waitFor();

    // Deleted, and back.
    await button(row(page, '192.0.2.1'), 'Delete www.page.example A').click();
    await row(page, '192.0.2.1').waitFor({ state: 'detached' });
    const said = page.locator('.toast').filter({ hasText: 'www.page.example A is deleted' });
    await button(said, 'Undo').click();
    await row(page, '192.0.2.1').waitFor();

    // A file: first what would come of it.
    await button(page, 'Import').click();
    const importing = page.getByRole('dialog');
    await importing.getByLabel('its text').fill('imported 300 IN A 192.0.2.44\nbroken 300 IN A nothing\n');
    await button(importing, 'Show what would come of it').click();
    await importing.getByRole('alert').filter({ hasText: 'line 2' }).waitFor();
    await importing.getByLabel('its text').fill('imported 300 IN A 192.0.2.44\n');
    await button(importing, 'Show what would come of it').click();
    await importing.getByText('+ imported.page.example. 300 IN A 192.0.2.44').waitFor();
    await button(importing, 'Import 1 record').click();
    await row(page, '192.0.2.44').waitFor();

    // Found by the edge, and the view has an address.
    await page.getByPlaceholder('Name, content, comment or tag').fill('192.0.2.44');
    await row(page, '192.0.2.1').waitFor({ state: 'detached' });
    await row(page, 'imported').waitFor();
    assert.ok(page.url().includes('q=192.0.2.44'), page.url());
    await page.reload();
    await row(page, 'imported').waitFor();

    // Out, and in by the password; a wrong one is told.
    await button(page, 'Log out').click();
    await heading(page, 'Log in to this edge');
    await page.getByLabel('E-mail').fill(edge.email);
    await page.getByLabel('Password', { exact: true }).fill('a wrong password');
    await button(page, 'Log in').click();
    await page.getByRole('alert').filter({ hasText: 'Wrong e-mail address or password' }).waitFor();
    await page.getByLabel('Password', { exact: true }).fill(PASSWORD);
    await button(page, 'Log in').click();
    await page.getByRole('navigation', { name: 'Dashboard' }).waitFor();

    // The link that was used once is told to be so.
    const late = await open();
    await late.goto(link);
    await late.getByRole('alert').filter({ hasText: 'used already' }).waitFor();
    return { zone };
  },

  async services() {
    const page = await open();
    await page.goto(link);
    await heading(page, 'Overview');
    const at = async (path, name) => {
      await page.goto(`${root}#${path}`);
      await heading(page, name);
    };
    const zone = `/zones/${edge.zone.id}`;

    // Nobody answers for a while: the page says so, and comes back by itself.
    await page.context().setOffline(true);
    await page.getByText('The edge does not answer').first().waitFor();
    await page.context().setOffline(false);
    await page.getByText('The edge does not answer').first().waitFor({ state: 'detached' });
    await page.getByText('All is well').waitFor();

    await at(`${zone}/dnssec`, 'DNSSEC');
    await page.getByRole('switch', { name: 'DNSSEC' }).click();
    await page.getByText('For the registrar').waitFor();

    await at(`${zone}/settings`, 'Settings');
    await page.getByRole('switch', { name: 'Always HTTPS' }).click();
    await page.getByText('always_use_https is on').waitFor();
    // What the edge refuses is said where it was wanted, and what holds is shown.
    await page.getByRole('spinbutton', { name: 'Largest upload' }).fill('0');
    await page.getByRole('spinbutton', { name: 'Largest upload' }).press('Tab');
    await page.getByRole('alert').filter({ hasText: 'max_upload' }).waitFor();

    await at('/firewall', 'Firewall, everywhere');
    await page.getByLabel('Who', { exact: true }).fill('198.51.100.0/24');
    await page.getByLabel('Why').fill('a test');
    await button(page, 'Add the rule').click();
    await row(page, '198.51.100.0/24').waitFor();
    await page.getByLabel('Address', { exact: true }).fill('198.51.100.7');
    await button(page, 'Try it').click();
    await page.getByText('blocked by').waitFor();

    await at(`${zone}/applications`, 'Applications');
    await button(page, 'Add an application').first().click();
    let dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name', { exact: true }).fill('ssh');
    await dialog.getByLabel('Port', { exact: true }).fill(process.env.PORT);
    await dialog.getByLabel('Address or name').fill('127.0.0.1');
    await dialog.getByLabel('Its port').fill(process.env.ORIGIN);
    await button(dialog, 'Serve it').click();
    await row(page, `ssh.${edge.zone.name}`).waitFor();
    // One with what this page does not know how to make.
    const guard = page.getByRole('switch', { name: `Access rules for pooled.${edge.zone.name}` });
    await guard.click();
    await page.getByText(`Access rules are not in force for pooled.${edge.zone.name}`).waitFor();

    await at('/tunnels', 'Tunnels');
    await page.getByRole('link', { name: 'Make a tunnel' }).first().click();
    dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name').fill('office');
    await button(dialog, 'Make it').click();
    await heading(page, 'office');
    await button(page, 'Show the token').click();
    const line = page.locator('pre').filter({ hasText: 'bartizan tunnel run --token ey' });
    await line.waitFor();
    const connector = (await line.innerText()).match(/--token (\S+)/)[1];
    await page.getByLabel('Name', { exact: true }).fill(`app.${edge.zone.name}`);
    await button(page, 'Lead it here').click();
    await page.getByRole('link', { name: `app.${edge.zone.name}` }).waitFor();

    await at('/pools', 'Pools and monitors');
    await button(page, 'Pool').click();
    dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name').fill('web');
    await dialog.getByLabel('Servers').fill('192.0.2.1\n192.0.2.2:8080=0.5');
    await button(dialog, 'Make it').click();
    await row(page, '192.0.2.2:8080').waitFor();
    await at(`${zone}/balancers`, 'Load balancers');
    await button(page, 'Add a load balancer').first().click();
    dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name').fill('balanced');
    await dialog.getByRole('checkbox', { name: /^web/ }).check();
    await button(dialog, 'Balance it').click();
    await row(page, `balanced.${edge.zone.name}`).waitFor();

    await at('/tokens', 'API tokens');
    await button(page, 'Make a token').click();
    dialog = page.getByRole('dialog');
    await dialog.getByLabel('What it is for').fill('certbot');
    await button(dialog, 'DNS records').click();
    await button(dialog, 'Make it').click();
    await page.getByText('It is shown this once').waitFor();
    const token = (await page.locator('pre').first().innerText()).trim();
    // Let in no more for a while, and again; nothing else of it changes.
    const may = await row(page, 'certbot').locator('.may').innerText();
    const letIn = page.getByRole('switch', { name: 'certbot is let in' });
    await letIn.click();
    await row(page, 'certbot').getByText('disabled').waitFor();
    await letIn.click();
    await row(page, 'certbot').getByText('active').waitFor();
    assert.equal(await row(page, 'certbot').locator('.may').innerText(), may);

    await at('/people', 'People');
    await button(page, 'Add somebody').click();
    dialog = page.getByRole('dialog');
    await dialog.getByLabel('E-mail').fill('ann@example.com');
    await dialog.getByLabel('Role').selectOption({ label: 'DNS' });
    await button(dialog, 'Add them').click();
    await page.getByText('A password for ann@example.com').waitFor();
    const password = (await page.locator('pre').first().innerText()).trim();

    // All of it is in the history, and one of it is undone there.
    await at('/history', 'History');
    const change = page.locator('ol > li').filter({ hasText: '198.51.100.0/24' }).first();
    await button(change, 'Undo').click();
    await button(page.getByRole('dialog'), 'Undo it').click();
    await page.locator('.toast').filter({ hasText: 'is undone' }).waitFor();
    return { connector, token, password };
  },

  // Devices that are known by a certificate: CSR is the request of one, HOST a host that answers.
  async devices() {
    const page = await open();
    await page.goto(link);
    await heading(page, 'Overview');
    await page.goto(`${root}#/zones/${edge.zone.id}/clients`);
    await heading(page, 'Client certificates');
    let form = page.getByRole('form', { name: 'Issue a certificate' });
    await form.getByLabel('A request (CSR, PEM)').fill('no request');
    await button(form, 'Issue it').click();
    await form.getByRole('alert').first().waitFor();
    for (const name of ['sensor-7', 'sensor-8']) {
      await form.getByLabel('A request (CSR, PEM)').fill(process.env[name]);
      await button(form, 'Issue it').click();
      await row(page, name).getByText('active').waitFor();
    }
    const said = form.locator('.note').filter({ hasText: 'sensor-8' });
    const certificate = (await said.locator('pre').innerText()).trim();

    form = page.getByRole('form', { name: 'A host' });
    await form.getByLabel('Host', { exact: true }).fill('elsewhere.example');
    await button(form, 'Ask there').click();
    await form.getByRole('alert').first().waitFor();
    await form.getByLabel('Host', { exact: true }).fill(process.env.HOST);
    await form.getByLabel('What it wants').selectOption('enforce');
    await button(form, 'Ask there').click();
    await row(page, process.env.HOST).getByText('the zone’s own').waitFor();

    // One is let in no more; the other is, then is not, and is again.
    for (const name of ['sensor-7', 'sensor-8']) {
      await button(page, `Revoke ${name}`).click();
      await button(page.getByRole('dialog'), 'Revoke it').click();
      await row(page, name).getByText('revoked').waitFor();
    }
    await button(page, 'Let sensor-8 in again').click();
    await row(page, 'sensor-8').getByText('active').waitFor();
    await page.getByLabel('Show', { exact: true }).selectOption('revoked');
    await row(page, 'sensor-8').waitFor({ state: 'detached' });
    await row(page, 'sensor-7').waitFor();
    await page.getByLabel('Show', { exact: true }).selectOption('');

    // An authority of one's own, and what becomes of it.
    await page.getByText('Bring one').click();
    form = page.getByRole('form', { name: 'Bring an authority' });
    await form.getByLabel('Name', { exact: true }).fill('Devices');
    await form.getByLabel('Its certificate, or several (PEM)').fill(process.env.CA);
    await form.getByLabel('Hosts that believe it').fill(process.env.HOST);
    await button(form, 'Bring it').click();
    await row(page, process.env.HOST).filter({ hasText: 'the zone’s own, Devices' }).waitFor();
    const list = page.locator('section').filter({ has: page.getByRole('heading', { name: 'Authorities of your own' }) });
    const faults = [];
    const storageState = await page.context().storageState();
    for (const look of LOOKS) {
      const other = await open({ ...look, storageState });
      await other.goto(`${root}#/zones/${edge.zone.id}/clients`);
      await row(other, 'sensor-8').getByText('active').waitFor();
      const wide = await other.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      if (wide > 0) faults.push(`${wide} too wide for ${look.viewport.width}`);
      faults.push(...(await judge(other)).map((fault) => `${look.colorScheme}: ${fault}`));
    }
    await button(list, 'Delete Devices').click();
    await button(page.getByRole('dialog'), 'Delete it').click();
    await page.getByText('None: hosts can believe').waitFor();

    // Found in the history by what was done to what, when, by whom and from where.
    await page.goto(`${root}#/history`);
    await heading(page, 'History');
    const changes = page.locator('ol > li');
    await page.getByLabel('Kind').selectOption('client_root');
    await page.getByLabel('Action').selectOption('delete');
    await changes.filter({ hasText: 'Deleted' }).first().waitFor();
    await changes.filter({ hasText: 'Added' }).first().waitFor({ state: 'detached' });
    assert.equal(await changes.count(), 1);
    await page.getByText('More filters').click();
    await page.getByLabel('Who (e-mail)').fill('ann@example.com');
    await page.getByText('Nothing like that was changed').waitFor();
    await page.getByLabel('Who (e-mail)').fill(edge.email);
    await page.getByLabel('From (address or prefix)').fill('127.0.0.0/8');
    await changes.first().waitFor();
    await page.getByLabel('Before (day)').fill('2020-01-01');
    await page.getByText('Nothing like that was changed').waitFor();
    assert.ok(page.url().includes('before=2020-01-01'), page.url());
    await button(page, 'Show all').click();
    await changes.filter({ hasText: 'Added' }).first().waitFor();
    await page.getByLabel('Kind').selectOption('client_root');
    await changes.filter({ hasText: 'Devices' }).first().waitFor();
    const saved = page.waitForEvent('download');
    await button(page, 'CSV').click();
    const table = readFileSync(await (await saved).path(), 'utf8');
    assert.ok(table.includes('client_root') && !table.includes('zone_settings'), table);
    return { certificate, faults };
  },

  // `www` and names that are not there were asked for before; the test knows how often.
  async analytics() {
    const page = await open();
    await page.goto(link);
    await heading(page, 'Overview');
    await page.goto(`${root}#/zones/${edge.zone.id}/records`);
    await page.getByRole('link', { name: 'DNS analytics' }).click();
    await heading(page, 'DNS analytics');
    const list = (name) => page.locator('section').filter({ has: page.getByRole('heading', { name, exact: true }) });
    const counts = (name) =>
      list(name).locator('tbody tr').evaluateAll((rows) => rows.map((row) => [row.cells[0].innerText.trim(), row.cells[1].title]));
    // What was asked a moment ago comes by itself.
    await row(list('Top names that are not there'), 'wwww').waitFor();
    const missing = await counts('Top names that are not there');
    const codes = await counts('Response codes');
    const over = await counts('How they come');
    await page.locator('canvas').waitFor();
    await page.getByRole('img', { name: /Queries over time.*NXDOMAIN/ }).waitFor();

    // One of them, with a click; the whole page is about it, and so is its address.
    await button(list('Top names'), 'www').click();
    await page.getByText(`Only www.${edge.zone.name}`).waitFor();
    await row(list('Top names'), 'wwww').waitFor({ state: 'detached' });
    const one = { names: await counts('Top names'), types: await counts('Record types') };
    assert.ok(page.url().includes(`name=www.${edge.zone.name}`), page.url());
    await page.reload();
    await page.getByText(`Only www.${edge.zone.name}`).waitFor();
    await button(page, 'Show all').click();
    await row(list('Top names'), 'wwww').waitFor();

    // By what is typed, also where it means something in a filter; what nobody asked for is said to be so.
    const name = page.getByLabel('Only one name');
    await name.fill('odd;one,here');
    await button(page, 'Filter').click();
    await row(list('Top names'), 'odd;one,here').waitFor();
    await row(list('Top names'), 'wwww').waitFor({ state: 'detached' });
    const odd = await counts('Top names');
    await name.fill('never');
    await name.press('Enter');
    await page.getByText('Nobody asked').waitFor();
    await button(page, 'Show all').click();
    await row(list('Response codes'), 'NOERROR').waitFor();
    await page.getByLabel('Code', { exact: true }).selectOption('NXDOMAIN');
    await row(list('Response codes'), 'NOERROR').waitFor({ state: 'detached' });
    assert.deepEqual(await counts('Response codes'), codes.filter(([code]) => code === 'NXDOMAIN'));
    await button(page, 'Show all').click();
    await row(list('Response codes'), 'NOERROR').waitFor();

    // A piece of the chart, drawn over at its end, and back.
    await page.getByLabel('Time', { exact: true }).selectOption('30m');
    const chart = page.locator('.u-over');
    await chart.scrollIntoViewIfNeeded();
    const box = await chart.boundingBox();
    await page.mouse.move(box.x + box.width * 0.6, box.y + 40);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.8, box.y + 60, { steps: 5 });
    await page.mouse.move(box.x + box.width - 1, box.y + 60, { steps: 5 });
    await page.mouse.up();
    const back = button(page, 'Back to all times');
    await back.waitFor();
    assert.match(page.url(), /since=.*until=/);
    await row(list('Top names'), 'wwww').waitFor();
    await back.click();
    await back.waitFor({ state: 'detached' });

    const saved = page.waitForEvent('download');
    await button(page, 'Names as CSV').click();
    const table = readFileSync(await (await saved).path(), 'utf8');
    const [, times] = missing.find(([label]) => label === 'wwww');
    assert.ok(table.includes(`missing,wwww.${edge.zone.name},${times}\r\n`), table);

    // With something on it, as the judge of access sees it.
    const faults = [];
    const storageState = await page.context().storageState();
    for (const look of LOOKS) {
      const other = await open({ ...look, storageState });
      await other.goto(`${root}#/zones/${edge.zone.id}/analytics`);
      await row(other.locator('section').filter({ has: other.getByRole('heading', { name: 'Top names', exact: true }) }), 'wwww').waitFor();
      await other.locator('canvas').waitFor();
      const wide = await other.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      if (wide > 0) faults.push(`${wide} too wide for ${look.viewport.width}`);
      faults.push(...(await judge(other)).map((fault) => `${look.colorScheme}: ${fault}`));
    }
    return { missing, codes, over, one, odd, faults };
  },

  // `www` was asked for six pages before, two of which are not there.
  async requests() {
    const page = await open();
    await page.goto(link);
    await heading(page, 'Overview');
    await page.goto(`${root}#/zones/${edge.zone.id}/records`);
    await page.getByRole('link', { name: 'HTTP analytics' }).click();
    await heading(page, 'HTTP analytics');
    const list = (name) => page.locator('section').filter({ has: page.getByRole('heading', { name, exact: true }) });
    const counts = (name) =>
      list(name).locator('tbody tr').evaluateAll((rows) => rows.map((row) => [row.cells[0].innerText.trim(), row.cells[1].title]));
    await row(list('Top hosts'), 'www').waitFor();
    const all = { hosts: await counts('Top hosts'), statuses: await counts('Status codes'), answerers: await counts('Who answered'), ways: await counts('How they come') };
    await page.locator('canvas').waitFor();
    await page.getByRole('img', { name: /Requests over time.*4xx 2/ }).waitFor();

    // What is not there, with a click: the whole page is about it, and so is its address.
    await button(list('Status codes'), '404').click();
    await button(page, 'Any status').waitFor();
    await row(list('Status codes'), '200').waitFor({ state: 'detached' });
    const missing = await counts('Top hosts');
    assert.ok(page.url().includes('status=404'), page.url());
    await page.reload();
    await button(page, 'Any status').click();
    await row(list('Status codes'), '200').waitFor();
    await page.getByLabel('Only one host').fill(`never.${edge.zone.name}`);
    await button(page, 'Filter').click();
    await page.getByText('Nobody came').waitFor();
    await button(page, 'Show all').click();
    await row(list('Top hosts'), 'www').waitFor();

    const faults = [];
    const storageState = await page.context().storageState();
    for (const look of LOOKS) {
      const other = await open({ ...look, storageState });
      await other.goto(`${root}#/zones/${edge.zone.id}/http`);
      await row(other.locator('section').filter({ has: other.getByRole('heading', { name: 'Top hosts', exact: true }) }), 'www').waitFor();
      await other.locator('canvas').waitFor();
      const wide = await other.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      if (wide > 0) faults.push(`${wide} too wide for ${look.viewport.width}`);
      faults.push(...(await judge(other)).map((fault) => `${look.colorScheme}: ${fault}`));
    }
    return { ...all, missing, faults };
  },

  // What is asked while somebody looks is there at once; HOST is a host that answers.
  async live() {
    const page = await open();
    await page.goto(link);
    await heading(page, 'Overview');
    await page.goto(`${root}#/zones/${edge.zone.id}/live`);
    await heading(page, 'Live');
    const listening = () => page.getByText('Listening', { exact: true }).waitFor();
    await listening();
    const resolver = new Resolver();
    resolver.setServers([edge.dns[0]]);
    const ask = (label) => resolver.resolve4(`${label}.${edge.zone.name}`).catch(() => undefined);
    await ask('missing');
    await row(page, 'missing').getByText('NXDOMAIN').first().waitFor();
    await ask('www');
    await row(page, 'www').getByText('NOERROR').first().waitFor();

    // Of one code alone, which its address says; what came before is gone.
    await page.getByLabel('Only this code').fill('NXDOMAIN');
    await button(page, 'Filter').click();
    await page.getByText('Nothing yet').waitFor();
    await listening();
    await ask('www');
    await ask('wwww');
    await row(page, 'wwww').first().waitFor();
    assert.equal(await row(page, 'NOERROR').count(), 0);
    assert.ok(page.url().includes('code=NXDOMAIN'), page.url());
    await button(page, 'Pause').click();
    await page.getByText('Paused', { exact: true }).waitFor();

    await button(page, 'Go on').click();
    await page.getByLabel('What', { exact: true }).selectOption('http');
    await listening();
    const [host, port] = edge.http[0].split(':');
    const get = (path) => new Promise((done, failed) => request({ host, port, path, headers: { host: process.env.HOST } }, (answer) => answer.resume().on('end', done)).on('error', failed).end());
    await get('/not-there?secret=1');
    await row(page, `GET ${process.env.HOST}/not-there`).getByText('404').waitFor();
    assert.equal(await page.getByText('secret').count(), 0);
    const faults = await judge(page);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    if (wide > 0) faults.push(`${wide} too wide`);

    // What the edge says against it is read.
    await page.goto(`${root}#/zones/${'0'.repeat(32)}/live`);
    await page.getByRole('alert').first().waitFor();
    return { faults };
  },

  // 60 zones and 60 pools are there, and a name of the last zone leads to the tunnel of TUNNEL.
  async many() {
    const page = await open();
    await page.goto(link);
    await heading(page, 'Overview');
    // Visitors come by another port than that of the listener.
    await page.getByText('; visitors come by port 4443').first().waitFor();
    const at = async (path, name) => {
      await page.goto(`${root}#${path}`);
      await heading(page, name);
    };

    const tunnel = `/tunnels/${process.env.TUNNEL}`;
    await at(tunnel, 'far');
    const old = page.getByRole('link', { name: 'old.z59.example', exact: true });
    await old.waitFor();
    const href = await old.getAttribute('href');
    assert.equal(await page.getByText('No name yet').count(), 0);
    // A whole name says its zone, whichever it is.
    await page.getByLabel('Name', { exact: true }).fill('a.z58.example');
    await page.getByText('In the zone z58.example').waitFor();
    await button(page, 'Lead it here').click();
    await page.getByRole('link', { name: 'a.z58.example', exact: true }).waitFor();
    // A label wants a zone: those that are not shown are found by a part of their name.
    await page.getByLabel('Name', { exact: true }).fill('b');
    await page.getByText(/more zones with other names/).waitFor();
    assert.equal(await page.getByRole('radio', { name: 'z57.example' }).count(), 0);
    assert.ok(await button(page, 'Lead it here').isDisabled());
    await page.getByLabel('Zone', { exact: true }).fill('no such');
    await page.getByText('No zone has this in its name').waitFor();
    await page.getByLabel('Zone', { exact: true }).fill('Z57');
    await page.getByRole('radio', { name: 'z57.example' }).check();
    await page.getByText('It becomes b.z57.example').waitFor();
    await button(page, 'Lead it here').click();
    await page.getByRole('link', { name: 'b.z57.example', exact: true }).waitFor();
    // What cannot be looked at is not told as none.
    await page.route('**/bartizan/tunnels/*/records*', (route) => route.fulfill({ status: 500, json: { success: false, errors: [{ code: 1, message: 'out of order' }], messages: [], result: null } }));
    await page.reload();
    await page.getByRole('alert').filter({ hasText: 'out of order' }).waitFor();
    assert.equal(await page.getByText('No name yet').count(), 0);
    await page.unroute('**/bartizan/tunnels/*/records*');
    await button(page, 'Try again').click();
    await old.waitFor();
    await button(page, 'Delete').click();
    const loss = await page.getByRole('dialog').innerText();
    for (const name of ['a.z58.example', 'b.z57.example', 'old.z59.example']) assert.ok(loss.includes(name), loss);
    await button(page.getByRole('dialog'), 'Cancel').click();

    await at('/tokens', 'API tokens');
    await button(page, 'Make a token').click();
    let dialog = page.getByRole('dialog');
    await dialog.getByLabel('What it is for').fill('certbot');
    await button(dialog, 'DNS records').click();
    for (const zone of ['z56.example', 'z57.example']) {
      await dialog.getByLabel('In these zones', { exact: true }).fill(zone);
      await dialog.getByRole('checkbox', { name: zone }).check();
    }
    await dialog.getByText('2 chosen').waitFor();
    await dialog.getByRole('checkbox', { name: 'z56.example' }).uncheck();
    await button(dialog, 'Make it').click();
    await page.getByText('It is shown this once').waitFor();
    const token = (await page.locator('pre').first().innerText()).trim();
    await row(page, 'certbot').getByText('on zone z57.example').waitFor();

    await at('/pools', 'Pools and monitors');
    await page.getByRole('heading', { name: 'pool-59', exact: true }).waitFor();
    const pools = await page.getByRole('heading', { name: /^pool-/ }).count();
    await at(`/zones/${edge.zone.id}/balancers`, 'Load balancers');
    await button(page, 'Add a load balancer').first().click();
    dialog = page.getByRole('dialog');
    await dialog.getByRole('checkbox', { name: /^pool-59/ }).waitFor();

    const faults = [];
    const storageState = await page.context().storageState();
    for (const look of LOOKS) {
      const other = await open({ ...look, storageState });
      const see = async (what) => {
        const wide = await other.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        if (wide > 0) faults.push(`${what} is ${wide} too wide for ${look.viewport.width}`);
        faults.push(...(await judge(other)).map((fault) => `${what} ${look.colorScheme}: ${fault}`));
      };
      await other.goto(`${root}#${tunnel}`);
      await other.getByText(/more zones with other names/).waitFor();
      await other.getByRole('link', { name: 'old.z59.example' }).waitFor();
      await see('the tunnel');
      await other.goto(`${root}#/tokens`);
      await button(other, 'Make a token').click();
      await other.getByText(/more zones with other names/).waitFor();
      await see('a token');
    }
    return { href, token, pools, faults };
  },

  // The link is the administrator's; who opens it in a window of theirs is ann, by the password of PASSWORD.
  async link() {
    const page = await open();
    await page.goto(root);
    await page.getByLabel('E-mail').fill('ann@example.com');
    await page.getByLabel('Password', { exact: true }).fill(process.env.PASSWORD);
    await button(page, 'Log in').click();
    await page.getByRole('link', { name: 'ann@example.com' }).waitFor();

    // She is invited, and joins.
    await page.goto(`${root}#/me`);
    await page.getByRole('button', { name: /^Join / }).click();
    await page.getByRole('button', { name: /^Join / }).waitFor({ state: 'detached' });

    // In the window that is open, by another's hand: nothing happens without a word.
    const who = () => page.evaluate(() => fetch('/client/v4/user').then((answer) => answer.json()).then(({ result }) => result.email));
    await page.goto(link);
    await heading(page, 'Log in as somebody else?');
    await page.getByText('You are logged in as ann@example.com').waitFor();
    // It says whose the link is, before anybody is asked to follow it.
    await page.getByText(`This link is of ${edge.email}`).waitFor();
    assert.ok(!page.url().includes('login'), 'the code of the link does not stay in the address');
    assert.equal(await who(), 'ann@example.com');
    const faults = await judge(page);
    await button(page, 'Stay as I am').click();
    await page.getByRole('link', { name: 'ann@example.com' }).waitFor();

    // In a window that is opened by it, too; and then it does what it is for.
    const other = await page.context().newPage();
    await other.goto(link);
    await heading(other, 'Log in as somebody else?');
    const before = (await page.context().cookies()).find(({ name }) => name.endsWith('bartizan')).value;
    await button(other, `Log in as ${edge.email}`).click();
    await other.getByRole('link', { name: edge.email }).waitFor();
    await heading(other, 'Overview');
    assert.equal(await who(), edge.email);

    // Good once: whoever is logged in reads it, and goes on as they were.
    await other.goto(link);
    await other.getByRole('alert').filter({ hasText: 'used already' }).waitFor();
    assert.equal(await other.getByRole('button', { name: /^Log in as/ }).count(), 0);
    await button(other, 'Stay as I am').click();
    await heading(other, 'Overview');
    return { faults, before };
  },

  async pages() {
    const faults = [];
    const seen = new Set();
    const storage = await logIn();
    for (const { colorScheme, viewport } of LOOKS) {
      const page = await open({ colorScheme, viewport, storageState: storage });
      const look = async (hash) => {
        await page.goto(`${root}#${hash}`);
        await page.locator('#title').waitFor();
        await page.waitForLoadState('networkidle');
        seen.add(hash);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        if (wide > 0) faults.push(`${hash} is ${wide} too wide for ${viewport.width}`);
        faults.push(...(await judge(page)).map((fault) => `${hash} ${colorScheme}: ${fault}`));
      };
      await page.goto(root);
      await page.locator('#title').waitFor();
      const links = () => page.locator('nav[aria-label=Dashboard] a[href^="#/"]').evaluateAll((all) => all.map((one) => one.getAttribute('href').slice(1)));
      for (const hash of await links()) await look(hash);
      await page.goto(`${root}#/zones/${edge.zone.id}/records`);
      await page.locator('#title').waitFor();
      for (const hash of (await links()).filter((hash) => hash.includes(edge.zone.id))) await look(hash);
      await look('/me');
      await look('/nowhere');
    }
    return { pages: seen.size, faults };
  },
};

async function logIn() {
  const page = await open();
  await page.goto(link);
  await heading(page, 'Overview');
  return page.context().storageState();
}

/** Serious findings of the judge, in a world of its own: the page's policy lets no script of others in. */
async function judge(page) {
  const session = await page.context().newCDPSession(page);
  const { frameTree } = await session.send('Page.getFrameTree');
  const { executionContextId: contextId } = await session.send('Page.createIsolatedWorld', { frameId: frameTree.frame.id, worldName: 'judge' });
  await session.send('Runtime.evaluate', { contextId, expression: axe });
  const expression = `axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice'] }).then(({ violations }) => JSON.stringify(
    violations.filter(({ impact }) => ['serious', 'critical'].includes(impact)).map(({ id, nodes }) => id + ' at ' + nodes.map((node) => node.target.join(' ')).slice(0, 3).join(', '))))`;
  const { result, exceptionDetails } = await session.send('Runtime.evaluate', { contextId, expression, awaitPromise: true });
  await session.detach();
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  return JSON.parse(result.value);
}

try {
  const told = await parts[part]();
  assert.deepEqual(complaints, []);
  console.log(JSON.stringify(told));
} finally {
  await browser.close();
}
