import { expect, test } from './fixture.ts';

test('the page loads, signs in with its link and shows the app', async ({ studio }) => {
  await expect(studio).toHaveTitle(/i2L Studio/);
  await expect(studio.locator('#app')).not.toBeEmpty();
});

test('a session is what the page needs: no link, no contract', async ({ page, served: app, problems }) => {
  await page.goto(app.url);
  expect(await page.evaluate(async () => (await fetch('/session')).status)).toBe(401);
  // The browser logs the refusal.
  problems.length = 0;
  const signedIn = await page.evaluate(
    async (token) => {
      const answer = await fetch('/session', { method: 'POST', body: JSON.stringify({ token }) });
      return [answer.status, (await fetch('/session')).status, document.cookie];
    },
    new URL(app.link).hash.replace('#token=', ''),
  );
  expect(signedIn, 'and scripts see no cookie').toEqual([204, 204, '']);
});

test("another site's page can't reach the app", async ({ page, served: app, context, problems }) => {
  await page.goto(app.link);
  await page.evaluate(
    async (token) => {
      await fetch('/session', { method: 'POST', body: JSON.stringify({ token }) });
    },
    new URL(app.link).hash.replace('#token=', ''),
  );
  const other = await context.newPage();
  await other.route('http://other.test/**', (route) => route.fulfill({ contentType: 'text/html', body: '<title>other</title>' }));
  await other.goto('http://other.test/');
  const outcome = await other.evaluate(
    (url) =>
      new Promise<string>((resolve) => {
        const socket = new WebSocket(`${url.replace('http', 'ws')}/rpc`);
        socket.onopen = () => resolve('open');
        socket.onerror = () => resolve('refused');
      }),
    app.url,
  );
  expect(outcome).toBe('refused');
  problems.length = 0;
});
