import type { Sentence, Sentences, Told } from '../told.ts';

/** After the file's name: what happened to it, and what to do. */
const about =
  (sentence: string | Sentence): Sentence =>
  (told) =>
    told.subject('：') + (typeof sentence === 'string' ? sentence : sentence(told));

const SYSTEM: Readonly<Record<string, string>> = {
  EACCES: '（没有权限）',
  EPERM: '（没有权限）',
  EEXIST: '（已有同名文件）',
  EISDIR: '（这是一个文件夹）',
  ENOTDIR: '（路径中有一部分不是文件夹）',
  EROFS: '（磁盘为只读）',
  EFBIG: '（文件超出大小限制）',
};
const why = (told: Told): string => told.with('system', (code) => SYSTEM[code] ?? '');
const tensor = (told: Told): string => told.with('tensor', (name) => `“${name}”`);

const space = (told: Told): string =>
  told.has('needed') && told.has('free') ? `需要 ${told.bytes('needed')}，仅剩 ${told.bytes('free')}` : '磁盘已满';

export const sentences: Sentences = {
  several: (failed, all) => `${all} 个中有 ${failed} 个失败；请重新运行任务以处理这些项。第一个：`,
  codes: {
    FILE_NOT_FOUND: about('找不到此文件或文件夹。请检查路径，或将其放回原处。'),
    FILE_UNREADABLE: about((told) => (told.has('system') ? `无法读取${why(told)}。` : '无法读取其内容，文件可能已损坏或不完整。')),
    FILE_WRITE_FAILED: about((told) => `无法写入${why(told)}。请检查权限，或选择其他位置。`),
    FILE_TOO_LARGE: about((told) => `最大只接受 ${told.memory('most')} 的文件。`),
    DISK_FULL: about((told) => `${space(told)}。请释放空间，或选择其他文件夹。`),
    OUTPUT_IS_INPUT: about('它同时也是输入文件。请为结果另取名称。'),
    PATH_TOO_LONG: about('路径过长。请使用更短的名称或子文件夹。'),
    COMFYUI_NOT_FOUND: (told) =>
      told.has('file')
        ? `${told.text('file')}：这里没有 ComfyUI。请选择含有 main.py 和 models 的文件夹，或其 loras 文件夹。`
        : '这台机器上找不到 ComfyUI。请在“设置”中指定其文件夹。',
    SAFETENSORS_HEADER: about('这不是可用的 safetensors 文件，可能已损坏或不完整。请重新下载或复制。'),
    SAFETENSORS_TENSOR: about((told) => `张量${tensor(told)}已损坏或类型未知。请重新下载此文件。`),
    SAFETENSORS_INDEX: about('此模型的各个文件互不对应。请重新下载。'),
    MODEL_MISSING: (told) =>
      `这台机器上没有：${told.has('models') ? told.text('models') : told.text('model')}${told.has('bytes') ? `（${told.bytes('bytes')}）` : ''}。请在“模型”页面下载，或指定其所在位置。`,
    MODEL_UNRECOGNISED: about((told) => `这不是所需的模型${told.with('expected', (id) => `（${id}）`)}。请使用原始文件。`),
    MODEL_MISMATCH: about('它与此任务的其他模型不匹配。请使用同一版本的模型文件。'),
    TENSOR_MISSING: about((told) => `缺少张量${tensor(told)}。此文件属于其他模型。`),
    TENSOR_SHAPE: about(
      (told) => `张量${tensor(told)}的形状为 ${told.text('got')}，应为 ${told.text('expected')}。此文件属于其他模型。`,
    ),
    CONFIG_INVALID: about('模型配置无法使用。请检查文件旁的 config.json。'),
    LICENCE_NOT_ACCEPTED: (told) =>
      told.has('licence')
        ? `${told.text('title')}：请先在 ${told.text('url')} 阅读并接受许可协议，然后再下载。`
        : `${told.text('repo')} 的所有者要求先接受其条款：请在 ${told.text('url')} 阅读并接受，然后填写该账户的访问令牌。`,
    TOKEN_REFUSED: (told) => `${told.text('repo')} 需要有效的访问令牌。请在该平台的账户设置中创建令牌，并在“模型”页面填写。`,
    HUB_NOT_FOUND: (told) =>
      `${told.text('source')} 上的 ${told.text('repo')} 没有此文件${told.with('path', (path) => `（${path}）`)}。请选择其他来源。`,
    HUB_UNREACHABLE: (told) =>
      told.has('stalled')
        ? `${told.text('source')} 不再发送数据。请检查网络连接，或选择其他来源。`
        : `无法连接 ${told.text('source')}${told.with('system', (code) => `（${code}）`)}。请检查网络连接，或选择其他来源。`,
    HUB_RESPONSE: (told) =>
      `${told.text('source')}：无法使用其响应${told.with('status', (status) => `（${status}）`)}。请稍后再试，或选择其他来源。`,
    RATE_LIMITED: (told) =>
      `请求过于频繁。请${told.has('retryAfterMs') ? `在 ${told.duration('retryAfterMs', 0.001)}后` : '稍后'}再试，或使用访问令牌。`,
    HASH_MISMATCH: about('收到的内容与平台公布的校验值不符，因此没有保留。请选择其他来源。'),
    SOURCE_CHANGED: (told) => `${told.text('repo')} 的 ${told.text('path')} 在下载期间发生了变化。请重新开始下载。`,
    DOWNLOAD_BUSY: about('它正在下载中。请等待完成，或停止该下载。'),
    LORA_KEYS: about((told) => `其中的键名不属于本应用能识别的 LoRA${told.with('keys', (keys) => `：${keys}`)}。`),
    LORA_MISMATCH: about((told) => `它与另一个 LoRA 适用的模型不同${told.with('module', (path) => `（${path}）`)}。`),
    IMAGE_INVALID: about('无法作为图片使用。请换一张。'),
    IMAGE_TOO_SMALL: about((told) => `${told.text('width')} × ${told.text('height')} 像素太小。每边至少需要 16 像素。`),
    IMAGE_TOO_LARGE: about('图片太大。请缩小后再试。'),
    NO_IMAGES: about('这里没有图片。'),
    IMAGES_REFUSED: (told) => {
      const list = told.has('refused') ? '（复制详细信息可查看完整列表）' : '';
      return `部分图片无法使用${list}。请修复或移除这些图片，或选择“跳过无法使用的图片”。`;
    },
    LIBRARY_IN_USE: (told) => `${told.has('name') ? told.text('name') : '另一个程序'} 正在使用此库。请关闭它，或等待其结束。`,
    LIBRARY_BUSY: about('另一个程序正在持续写入此库。请稍后再试。'),
    LIBRARY_DAMAGED: about('库已损坏。请用 “i2l library restore” 恢复备份。'),
    LIBRARY_NEWER: about('它由更新版本的 i2L Studio 写入。请重新启动或更新本应用。'),
    NOT_IN_LIBRARY: (told) => {
      if (told.has('hash')) return `${told.has('set') ? '图片集' : '库'}中已没有此图片。`;
      return `库中已没有此${told.has('set') ? '图片集' : '项'}。`;
    },
    MEMORY_BUDGET: (told) => {
      const least = told.memory('smallest');
      const most = told.memory('budget');
      if (told.has('file') && !told.has('stage'))
        return `${told.text('file')}：解码这张 ${told.text('width')} x ${told.text('height')} 像素的图片需要 ${least}，但引擎最多只能使用 ${most}。请在“设置”中允许使用更多内存，或缩小图片。`;
      const advice = told.is('option', '--vram') ? '请在“设置”中选择 CPU。' : '请在“设置”中允许使用更多内存。';
      return `${told.text('network')} 的 ${told.text('stage')} 需要 ${least}，但最多只能使用 ${most}。${advice}`;
    },
    DEVICE_UNAVAILABLE: (told) => `设备 ${told.text('device')} 不可用。请在“设置”中选择其他设备。`,
    ENGINE_CRASHED: (told) => {
      if (told.has('silentSeconds'))
        return `引擎已有 ${told.duration('silentSeconds')}没有响应，因此被终止。未写完的内容已删除；请重新运行任务。`;
      const memory = told.is('signal', 'SIGKILL') ? '系统内存可能已耗尽：请在“设置”中降低内存上限。' : '';
      return `引擎在完成之前停止了。未写完的内容已删除；请重新运行任务。${memory}`;
    },
    ENGINE_PROTOCOL: () => '引擎的响应不符合预期。请重新运行任务；若再次出现，请复制详细信息并报告问题。',
    SESSION_FAILED: (told) => `计算${told.with('device', (device) => `（${device}）`)}失败。请在“设置”中改用 CPU，或重新运行任务。`,
    NOT_FINITE: about((told) => `得到的值不是有限数值${told.with('module', (path) => `（${path}）`)}。文件可能已损坏。`),
    CANCELLED: () => '已停止。',
    CONNECTION_LOST: about('在收到响应之前，与应用的连接已断开。请重试。'),
    JOB_NOT_FOUND: () => '队列中已没有此任务。',
    JOB_STATE: () => '任务的状态已经改变，无法执行此操作。',
    JOB_KIND: (told) => `此版本不认识“${told.text('kind')}”类型的任务。`,
    JOB_CRASHED: (told) =>
      `应用在同一步骤连续意外退出 ${told.text('crashes')} 次，因此不再自动启动此任务。请重新运行；若可能是内存不足，请先降低内存上限。`,
    BAD_ARGUMENT: about('无法理解所请求的内容。请复制详细信息查看原因。'),
    UNSUPPORTED: about('此版本不支持。'),
    INTERNAL: () => '发生意外错误。请复制详细信息并报告问题。',
  },
  reasons: {
    'in-the-way': about('已有其他文件占用此名称。请移走它，或另选名称。'),
    'many-versions': about('同名版本过多。请另选名称。'),
    'copy-differs': about('副本与源文件不一致：源文件发生了变化，或磁盘出错。请重试。'),
    'held-by-others': about('正被另一个程序占用。请关闭 i2L Studio 的其他窗口后重试。'),
    'changed-since': about('它已不是当初下载的文件，因此予以保留。请手动删除。'),
    'not-understood': about('无法理解其内容，也无法将其移到一旁。请手动移走。'),
    'image-moved': about('此图片已被移走或改动。请放回原处，或从图片集中移除。'),
    'changed-meanwhile': about('读取期间文件发生了变化。请重试。'),
    'too-many-files': about((told) => `内容过多，搜索在 ${told.text('stoppedAt')} 处停止。请直接选择模型所在的文件夹。`),
    'not-as-published': about('收到的内容不是此版本认识的模型，因此没有保留。请查看本应用是否有新版本。'),
    'bad-factors': about('其中的矩阵无法构成 LoRA。文件已损坏或属于其他类型。'),
    'key-form': about('无法用这种键名写入。请选择其他键名形式。'),
    'not-safetensors': about('这不是 LoRA。只能导入 .safetensors 文件。'),
    'no-trainer-target': about('它既不是 Qwen-Image 也不是 Z-Image 的 LoRA，无法写出训练配置。'),
    'image-empty': about('文件是空的。'),
    'not-an-image': about('这不是图片，或是无法读取的类型。'),
    'image-kind': about('无法读取这种格式的图片。请另存为 PNG 或 JPEG。'),
    'image-cut-off': about('图片已损坏或不完整。请重新保存或下载。'),
    'no-preview': about('无法用它生成预览。请换一张图片。'),
    'no-folders': about('此文件夹中没有子文件夹。'),
    'folder-emptied': about('此文件夹中已没有图片。图片集保持不变。'),
    'all-refused': about('所有图片都无法使用。请复制详细信息查看每张图片的原因。'),
    'copies-in-use': () => '有任务正在使用 8 位副本。请在任务结束后删除。',
    'no-weight': about('此图片集中没有权重大于 0 的图片。请添加图片，或提高某张图片的权重。'),
    'not-a-library': about('这不是 i2L Studio 的库。请将其移走。'),
    'library-emptied': about('库是空的，但存在备份。请用 “i2l library restore” 恢复其中一个。'),
    'in-trash': about('此图片集在回收站中。请先恢复。'),
    'mirrors-no-folder': about('此图片集没有对应的文件夹。'),
    'path-not-whole': about('请填写从根目录或盘符开始的完整路径。'),
    'no-picker': () => '浏览器无法选择计算机器上的文件。请填写其路径。',
    'path-not-chosen': about('请用输入框旁的按钮选择。'),
    'path-of-device': about('这是设备，不是文件。'),
    'mirror-without-hub': () => '镜像需要指定所属平台：请选择 Hugging Face 或 ModelScope。',
    'endpoint-form': (told) => `地址的格式应类似 ${told.text('example')}。`,
    'token-form': () => '令牌必须是不含空格的普通字符。',
    'no-token-store': () => '这里无法保存令牌。请在启动前设置 HF_TOKEN 或 MODELSCOPE_API_TOKEN。',
    'not-downloaded-here': about('它不是由本应用下载的，因此没有删除任何内容。'),
    'nothing-to-merge': () => '所有强度都是 0，没有可合并的内容。',
    'folder-not-empty': about('其中已有内容，不会覆盖。请选择一个新文件夹。'),
    'name-in-brackets': about('ai-toolkit 会替换路径中的 [name]。请选择其他文件夹。'),
    'template-field': (told) => `“${told.text('template')}”：没有 {${told.text('field')}} 这个字段。`,
    'subfolder-outside': (told) => `“${told.text('subfolder')}”：子文件夹必须在 loras 文件夹内。请填写 i2L 之类的名称。`,
    'same-output': about('两个 LoRA 会写入同一位置。请分别取名。'),
    'not-in-browser': () => '只有桌面应用可以这样做。在浏览器中请改为下载文件。',
  },
};
