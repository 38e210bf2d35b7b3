/**
 * Imports run one way. Each folder of main/ may import itself, what is listed for it, and packages; a door
 * to a native library is the only file that may import it.
 */
const layers = {
  contract: [],
  weights: ['contract'],
  imaging: ['contract'],
  comfyui: ['contract', 'weights'],
  onnx: ['contract'],
  linear: ['contract'],
  lora: ['contract', 'weights'],
  trainers: ['contract', 'weights', 'lora'],
  offload: ['contract', 'onnx', 'linear'],
  jobs: ['contract'],
  library: ['contract', 'weights', 'imaging', 'lora', 'jobs'],
  networks: ['contract', 'weights', 'lora', 'onnx', 'linear', 'offload'],
  pipelines: ['contract', 'weights', 'imaging', 'comfyui', 'trainers', 'onnx', 'lora', 'offload', 'networks'],
  runners: ['contract', 'jobs', 'library', 'pipelines', 'comfyui', 'weights', 'engine-process.ts'],
  settings: ['contract', 'weights'],
  handlers: ['contract', 'weights', 'library', 'jobs', 'comfyui', 'settings', 'pipelines'],
  web: ['contract', 'weights', 'imaging', 'library', 'pipelines'],
};

/** A folder, or a file by its name. */
const inMain = (name) => (name.endsWith('.ts') ? `${name.replace('.', '[.]')}$` : `${name}/`);

const doors = {
  'onnxruntime-node': '^main/onnx/runtime[.]ts$|^test/unit/run-order[.]test[.]ts$',
  sharp: '^main/imaging/(decode|look|preview)[.]ts$|^build/|^test/',
  'better-sqlite3': '^main/library/|^test/',
  undici: '^main/weights/hub/http[.]ts$|^test/',
  electron: '^main/(index[.]ts|shell/)|^preload/|^test/',
};

module.exports = {
  forbidden: [
    { name: 'no-circles', severity: 'error', from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } } },
    ...Object.entries(layers).map(([layer, allowed]) => ({
      name: `layer-${layer}`,
      severity: 'error',
      from: { path: `^main/${layer}/` },
      to: { path: '^(main|renderer|preload|test|build)/', pathNot: `^main/(${[layer, ...allowed].map(inMain).join('|')})` },
    })),
    {
      name: 'cli-through-pipelines',
      comment: 'Entries reach the engine through pipelines, not past them.',
      severity: 'error',
      from: { path: '^main/(cli/|cli[.]ts|engine[.]ts)' },
      to: { path: '^main/(networks|onnx|offload|lora|shell)/' },
    },
    {
      name: 'renderer-knows-the-contract-alone',
      severity: 'error',
      from: { path: '^renderer/' },
      to: { path: '^main/', pathNot: '^main/contract/' },
    },
    ...Object.entries(doors).map(([library, door]) => ({
      name: `door-${library}`,
      severity: 'error',
      from: { path: '^(main|preload|renderer|build|test)/', pathNot: door },
      to: { path: `^node_modules/${library}/` },
    })),
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.js', '.json', '.svelte'],
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
  },
};
