/**
 * onnxruntime since 1.30 reports its use to its maker, over the network, unless it is told not to before it is
 * loaded. Nothing here speaks to the network unasked. Imported for its effect before onnxruntime-node, and in
 * the environment of every engine process, since a bundler may change the order of imports.
 */
export const NO_TELEMETRY: Readonly<Record<string, string>> = {
  ORT_DISABLE_TELEMETRY: '1', // 1.30
  ORT_TELEMETRY_DISABLED: '1', // its name since
};

Object.assign(process.env, NO_TELEMETRY);
