import type { Configuration } from 'electron-builder';

/** Where the icons are made; a folder of out/ that is not packed. */
export const ICONS_FOLDER = 'out/icons';

/**
 * What a package holds of node_modules: the dependencies, without what is not run. onnxruntime-node and
 * better-sqlite3 bring the binaries of all systems; a system keeps its own.
 */
const NOT_RUN = [
  '!**/node_modules/**/*.{map,ts,mts,cts,flow}',
  '!**/node_modules/**/{README,readme,CHANGELOG,HISTORY,SECURITY}*',
  '!**/node_modules/**/{test,tests,docs,examples,.github}/**',
  '!**/node_modules/{better-sqlite3,sharp}/{deps,src,install,binding.gyp}{,/**}',
  '!**/node_modules/onnxruntime-node/{lib,script}/**',
  '!**/node_modules/{protobufjs/dist,yaml/browser,long/umd,undici/scripts}/**',
  '!**/node_modules/@img/**/glib-2.0/**',
  // Of the command line, of server mode, and of onnxruntime-node's installation.
  '!**/node_modules/{commander,ws,adm-zip,global-agent,node-addon-api}/**',
];

/**
 * All that goes into app.asar. Named by each system wholly: electron-builder packs everything for one that adds
 * exclusions to a common list.
 * @param os as Node names it
 */
function filesOf(os: NodeJS.Platform, ...more: readonly string[]): string[] {
  const own = `${os}-\${arch}`;
  return [
    'out/{main,preload,renderer}/**',
    'resources/examples/*.jpg',
    ...NOT_RUN,
    `!**/node_modules/onnxruntime-node/bin/*/!(${os})/**`,
    `!**/node_modules/onnxruntime-node/bin/*/${os}/!(\${arch})/**`,
    `!**/node_modules/better-sqlite3/prebuilds/!(${own}.node)`,
    `!**/node_modules/@img/sharp-!(${own}|libvips-${own})/**`,
    ...more,
  ];
}

/**
 * How electron-builder packages the app. Nothing is published or updated: the app connects to nothing unasked.
 * macOS is for arm64 alone, since onnxruntime-node has no binary for Intel's.
 */
export const packaging: Configuration = {
  appId: 'studio.i2l.app',
  productName: 'i2L Studio',
  copyright: 'Apache License 2.0',
  directories: { output: 'dist', buildResources: ICONS_FOLDER },
  artifactName: 'i2l-studio-${version}-${os}-${arch}.${ext}',
  publish: null,
  extraResources: [{ from: 'LICENSE', to: 'LICENSE.txt' }],
  electronLanguages: ['en-US', 'zh-CN'],
  // The native modules are Node-API binaries: Electron loads them as they are.
  npmRebuild: false,
  // A native library is loaded by the system, which can't look into an archive.
  asar: { smartUnpack: false },
  asarUnpack: ['**/node_modules/{onnxruntime-node/bin,better-sqlite3/prebuilds,@img/sharp-*}/**'],
  electronFuses: {
    runAsNode: false,
    enableNodeOptionsEnvironmentVariable: false,
    enableNodeCliInspectArguments: false,
    onlyLoadAppFromAsar: true,
    enableEmbeddedAsarIntegrityValidation: true,
    enableCookieEncryption: true,
    grantFileProtocolExtraPrivileges: false,
    loadBrowserProcessSpecificV8Snapshot: false,
  },
  win: {
    icon: `${ICONS_FOLDER}/icon.ico`,
    target: ['nsis', 'portable'].map((target) => ({ target, arch: ['x64'] })),
    files: filesOf('win32'),
  },
  // For this user, so without an administrator; what the user made stays when the app goes.
  nsis: {
    oneClick: true,
    perMachine: false,
    packElevateHelper: false,
    deleteAppDataOnUninstall: false,
    differentialPackage: false,
  },
  portable: { artifactName: 'i2l-studio-${version}-${os}-${arch}-portable.${ext}' },
  mac: {
    icon: `${ICONS_FOLDER}/icon.icns`,
    category: 'public.app-category.graphics-design',
    target: [{ target: 'dmg', arch: ['arm64'] }],
    hardenedRuntime: true,
    entitlements: 'build/entitlements.mac.plist',
    entitlementsInherit: 'build/entitlements.mac.plist',
    // The binding loads libonnxruntime.1.dylib; the other is the same file once more.
    files: filesOf('darwin', '!**/node_modules/onnxruntime-node/bin/**/libonnxruntime.1.*.dylib'),
  },
  dmg: { writeUpdateInfo: false },
  linux: {
    icon: `${ICONS_FOLDER}/sizes`,
    executableName: 'i2l-studio',
    category: 'Graphics',
    synopsis: 'Make LoRAs from images',
    description: 'Makes LoRAs from images in one forward pass, on this machine: no Python, no training run.',
    maintainer: 'i2L Studio',
    syncDesktopName: true,
    desktop: { entry: { Keywords: 'LoRA;ComfyUI;Qwen-Image;Z-Image;', StartupWMClass: 'i2l-studio' } },
    target: ['AppImage', 'deb'].map((target) => ({ target, arch: ['x64', 'arm64'] })),
    files: filesOf('linux'),
  },
};
