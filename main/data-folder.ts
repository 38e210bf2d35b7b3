import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where the app keeps what is its own: the operating system's place for it; I2L_HOME overrides. */
export function dataFolder(
  env: NodeJS.ProcessEnv = process.env,
  platform: NodeJS.Platform = process.platform,
  home = homedir(),
): string {
  if (env['I2L_HOME']) return env['I2L_HOME'];
  if (platform === 'win32') return join(env['APPDATA'] ?? join(home, 'AppData', 'Roaming'), 'i2L Studio');
  if (platform === 'darwin') return join(home, 'Library', 'Application Support', 'i2L Studio');
  return join(env['XDG_DATA_HOME'] ?? join(home, '.local', 'share'), 'i2l-studio');
}
