import type { DeviceFailure } from '../../../../main/contract/devices.ts';
import type { Dictionary } from '../en/index.ts';

/** What a driver says is English in every language. */
export function faultOf({ fault, why, network }: Omit<DeviceFailure, 'state'>): string {
  switch (fault) {
    case 'differs':
      return network === undefined ? '其结果与 CPU 不一致。' : `其 ${network} 的结果与 CPU 不一致。`;
    case 'refused':
      return `运行时无法使用它（${why}）。`;
    case 'silent':
      return '测试没有给出结果。';
    case 'crashed':
      return '测试使其进程意外终止，可能是驱动程序有问题。';
    case 'let-down':
      return '曾有任务在其上失败。修复驱动程序后可重新测试。';
  }
}

export const settings: Dictionary['settings'] = {
  title: '设置',
  appearance: '外观',
  theme: '主题',
  themes: { system: '跟随系统', dark: '深色', light: '浅色' },
  language: '语言',
  languages: { system: '跟随系统', en: 'English', 'zh-CN': '简体中文' },
  compute: '计算',
  device: '设备',
  deviceHint: '任务使用设备前，会先与 CPU 的结果比对。若结果不一致，任务会说明并改用其他设备。',
  devices: {
    auto: '自动选择可用的最佳设备',
    cpu: 'CPU',
    cuda: 'NVIDIA GPU（CUDA）',
    webgpu: 'GPU（WebGPU）',
    dml: 'GPU（DirectML）',
    coreml: 'Apple（Core ML）',
  },
  deviceTests: '本机可用设备',
  deviceTest: '立即测试',
  deviceTesting: '正在测试…',
  deviceAuto: '默认',
  deviceOutcome: (outcome) => {
    if (outcome.state === 'unknown') return '尚未测试；任务使用前会先测试。';
    if (outcome.state === 'bad') return `无法使用：${faultOf(outcome.failure)}`;
    if (outcome.isCpu) return '始终可用。';
    const { times } = outcome;
    return times >= 1
      ? `结果与 CPU 一致，速度为其 ${times.toFixed(1)} 倍。`
      : `结果与 CPU 一致，速度比其慢 ${(1 / times).toFixed(1)} 倍。`;
  },
  memory: '内存预算',
  memoryHint: (total) => `引擎可使用的内存，本机共有 ${total}。预算较小时会分更小的块处理，用时更长，结果仅有舍入差异。`,
  threads: 'CPU 线程数',
  threadsHint: (cores) => `0 表示使用全部 ${cores} 个核心。`,
  fastEncoders: '8 位编码器',
  fastEncodersHint:
    '在 CPU 上用时约减半，读取量减半，也更省内存；生成的 LoRA 相差很小。每个编码器会制作一次副本，大小为原来的一半。',
  keepEncoders: '保留编码器',
  keepEncodersHint: '在 CPU 上：任务结束后，编码器的权重留在剩余的内存预算中，最多五分钟，下一个任务无需再次读取。',
  copies: (size) => `副本：${size}`,
  removeCopies: '删除',
  folders: '文件夹',
  dataFolder: '数据',
  dataFolderHint: '库、LoRA 和缓存。如需移动，请在启动前设置 I2L_HOME。',
  modelsFolder: '模型',
  modelsFolderHint: '在此查找模型，下载的模型也存放在此。默认位于数据文件夹旁。',
  modelsFolderDefault: '恢复为数据文件夹旁的位置',
  cache: '保留的图像嵌入',
  cacheHint: '处理过的图片不会再次编码。最久未使用的会先被清除。',
  comfyui: 'ComfyUI',
  comfyuiHint: '可导出 LoRA 的 ComfyUI 安装。',
  comfyuiNone: '本机未找到 ComfyUI。请在下方添加其文件夹。',
  comfyuiAdd: '添加文件夹',
  comfyuiAddHint: '包含 ComfyUI 的 main.py 或 models 文件夹的目录。',
  comfyuiRemove: (folder) => `移除 ${folder}`,
  comfyuiListed: '由你添加',
  comfyuiKinds: {
    git: 'Git 克隆',
    portable: '便携版',
    desktop: '旧桌面版',
    'desktop-new': '桌面版',
    pinokio: 'Pinokio',
    'stability-matrix': 'Stability Matrix',
    named: '由你添加',
  },
  readOnly: '不可写',
  about: '关于',
  version: '版本',
  machine: '机器',
  runsAs: '运行方式',
  modes: { desktop: '桌面应用', server: '服务器' },
  machineText: (model, cores, memory, system) => `${model}，${cores} 核，${memory}，${system}`,
  diagnostics: '复制诊断信息',
  diagnosticsHint: '版本、机器、设置和最近的错误，不含你的文件名。',
  diagnosticsCopied: '已复制诊断信息',
  reset: '重置设置',
  resetTitle: '重置所有设置？',
  resetText: '主题、语言、设备、内存和文件夹将恢复默认值。图片、LoRA 和模型不受影响。',
  resetDone: '设置已重置',
};
