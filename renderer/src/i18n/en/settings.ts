import type { DeviceFailure } from '../../../../main/contract/devices.ts';
import type { ShownOutcome } from '../../views/settings/devices.ts';

/** What a driver says is English in every language. */
export function faultOf({ fault, why, network }: Omit<DeviceFailure, 'state'>): string {
  switch (fault) {
    case 'differs':
      return network === undefined ? 'its results differ from the CPU’s.' : `its results for ${network} differ from the CPU’s.`;
    case 'refused':
      return `the runtime does not take it (${why}).`;
    case 'silent':
      return 'its test gave no answer.';
    case 'crashed':
      return 'its test ended the process that ran it; its driver may be at fault.';
    case 'let-down':
      return 'a job failed on it. Test it again once its driver is mended.';
  }
}

export const settings = {
  title: 'Settings',
  appearance: 'Appearance',
  theme: 'Theme',
  themes: { system: 'As the system', dark: 'Dark', light: 'Light' },
  language: 'Language',
  languages: { system: 'As the system', en: 'English', 'zh-CN': '简体中文' },
  compute: 'Computing',
  device: 'Device',
  deviceHint:
    'Every device is checked against the CPU before a job uses it. If it gives other results, the job says so and uses another.',
  devices: {
    auto: 'Best that works',
    cpu: 'CPU',
    cuda: 'NVIDIA GPU (CUDA)',
    webgpu: 'GPU (WebGPU)',
    dml: 'GPU (DirectML)',
    coreml: 'Apple (Core ML)',
  },
  deviceTests: 'What works here',
  deviceTest: 'Test now',
  deviceTesting: 'Testing…',
  deviceAuto: 'default',
  deviceOutcome: (outcome: ShownOutcome): string => {
    if (outcome.state === 'unknown') return 'Not tested yet; a job that may use it tests it first.';
    if (outcome.state === 'bad') return `Can’t be used: ${faultOf(outcome.failure)}`;
    if (outcome.isCpu) return 'Always there.';
    const { times } = outcome;
    return times >= 1
      ? `Same results as the CPU, ${times.toFixed(1)} times as fast.`
      : `Same results as the CPU, ${(1 / times).toFixed(1)} times slower.`;
  },
  memory: 'Memory budget',
  memoryHint: (total: string): string =>
    `What the engine may use, of ${total} in this machine. With less, it works in smaller pieces and takes longer; the result is the same but for rounding.`,
  threads: 'CPU threads',
  threadsHint: (cores: string): string => (cores === '1' ? '0 uses the only core.' : `0 uses all ${cores} cores.`),
  fastEncoders: 'Encoders in 8 bits',
  fastEncodersHint:
    'On the CPU: about half the time, half to read, less memory. LoRAs come out nearly the same. A copy of each encoder, half its size, is made once.',
  keepEncoders: 'Keep encoders ready',
  keepEncodersHint:
    'On the CPU: after a job their weights stay in memory for five minutes, as far as the budget has room. The next job doesn’t read them again.',
  copies: (size: string): string => `Copies: ${size}`,
  removeCopies: 'Delete',
  folders: 'Folders',
  dataFolder: 'Data',
  dataFolderHint: 'Library, LoRAs and cache. Set I2L_HOME before the start to move it.',
  modelsFolder: 'Models',
  modelsFolderHint: 'Where models are looked for and downloaded to; beside the data unless you choose another.',
  modelsFolderDefault: 'Back to the folder beside the data',
  cache: 'Kept image embeddings',
  cacheHint: 'An image that was seen before is not encoded again. What was used longest ago goes first.',
  comfyui: 'ComfyUI',
  comfyuiHint: 'Installs that LoRAs can be exported to.',
  comfyuiNone: 'No ComfyUI was found on this machine. Add its folder below.',
  comfyuiAdd: 'Add a folder',
  comfyuiAddHint: 'The folder that holds ComfyUI’s main.py or models folder.',
  comfyuiRemove: (folder: string): string => `Remove ${folder}`,
  comfyuiListed: 'Added by you',
  comfyuiKinds: {
    git: 'Git clone',
    portable: 'Portable',
    desktop: 'Older desktop app',
    'desktop-new': 'Desktop app',
    pinokio: 'Pinokio',
    'stability-matrix': 'Stability Matrix',
    named: 'Added by you',
  },
  readOnly: 'not writable',
  about: 'About',
  version: 'Version',
  machine: 'Machine',
  runsAs: 'Runs as',
  modes: { desktop: 'Desktop app', server: 'Server' },
  machineText: (model: string, cores: string, memory: string, system: string): string =>
    `${model}, ${cores} ${cores === '1' ? 'core' : 'cores'}, ${memory}, ${system}`,
  diagnostics: 'Copy diagnostics',
  diagnosticsHint: 'Versions, machine, settings and the latest errors, without your file names.',
  diagnosticsCopied: 'Diagnostics copied',
  reset: 'Reset settings',
  resetTitle: 'Reset all settings?',
  resetText: 'Theme, language, device, memory and folders go back to their defaults. Images, LoRAs and models stay.',
  resetDone: 'Settings reset',
};
