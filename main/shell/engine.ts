import { utilityProcess } from 'electron';
import { ENGINE_ARGUMENTS, Tail, type StartEngineProcess } from '../engine-process.ts';

/** Starts engines as Electron's utility processes: Node without a window, which fuses can't turn into a plain Node. */
export function utilityEngines(script: string): StartEngineProcess {
  return (env, { onStart, onMessage, onEnd }) => {
    const child = utilityProcess.fork(script, [], {
      serviceName: 'i2L engine',
      stdio: ['ignore', 'ignore', 'pipe'],
      execArgv: [...ENGINE_ARGUMENTS],
      env,
    });
    const stderr = new Tail();
    let pid: number | undefined;
    let ended = false;
    child.stderr?.on('data', (text: Buffer) => stderr.add(text.toString('utf8')));
    child.on('spawn', () => {
      // Kept: Electron forgets it when the process ends, and half-written files are named by it.
      pid = child.pid;
      if (pid !== undefined) onStart(pid);
    });
    child.on('message', onMessage);
    child.on('exit', (code) => {
      ended = true;
      onEnd({ code, signal: null, stderr: stderr.text });
    });
    const end = (): void => void (ended || child.kill());
    return {
      get pid() {
        return pid;
      },
      send: (request) => {
        if (!ended) child.postMessage(request);
      },
      kill: end,
      release: end,
    };
  };
}
