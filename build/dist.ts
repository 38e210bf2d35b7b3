import { pack } from './pack.ts';

/**
 * `npm run dist`: packages the app for this machine's system. Electron comes from where electron-builder
 * fetches it, or from I2L_ELECTRON: a folder with Electron unpacked, or its zip.
 */
try {
  for (const file of await pack({ electron: process.env['I2L_ELECTRON'] })) console.log(file);
} catch (error) {
  console.error(`The app was not packaged: ${reason(error)}`);
  process.exitCode = 1;
}

function reason(error: unknown): string {
  const [line = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
  return /ENOTFOUND|ECONN|ETIMEDOUT|EAI_AGAIN|EHOSTUNREACH|HTTPError|RequestError|status code|response code|fetch failed/i.test(
    `${line} ${String(error)}`,
  )
    ? `Electron or one of electron-builder's tools can't be fetched (${line}); connect, or set I2L_ELECTRON to Electron's folder or zip.`
    : line;
}
