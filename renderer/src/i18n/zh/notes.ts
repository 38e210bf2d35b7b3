import { notePartsIn } from '../note-parts.ts';
import type { Notes } from '../told.ts';
import { faultOf, settings } from './settings.ts';

const { ofFile, because, device, fault } = notePartsIn({ colon: '：', devices: settings.devices, faultOf });

/** What is said of a job on its way, of ComfyUI's files and of the settings, beside failures. */
export const notes: Notes = {
  IMAGE_TURNED: ofFile('已按 EXIF 方向转正。'),
  IMAGE_FIRST_FRAME: ofFile((told) => `动画共 ${told.number('frames')} 帧，只使用第一帧。`),
  IMAGE_FIRST_PAGE: ofFile((told) => `共 ${told.number('pages')} 页，只使用第一页。`),
  IMAGE_ON_WHITE: ofFile('透明部分已置于白色背景上。'),
  IMAGE_FROM_CMYK: ofFile('CMYK 颜色已转换为 sRGB。'),
  IMAGE_TO_SRGB: ofFile('颜色配置文件已转换为 sRGB。'),
  IMAGE_TO_8_BITS: ofFile('已降为每通道 8 位。'),
  IMAGE_GREY: ofFile('灰度图：三个通道相同。'),
  IMAGE_MIDDLE: ofFile((told) => `${told.text('width')} × ${told.text('height')} 像素，只能看到中间的正方形部分。`),
  IMAGE_REFUSED: (told) => `图片无法使用：${told.failureOf('file', '：')}`,
  EMBEDDINGS_NOT_KEPT: because('编码结果没有保留给以后的任务'),
  EIGHT_BIT_NOT_USED: (told) => `8 位编码器只用于 CPU。在 ${device(told)} 上直接使用原有权重。`,
  EIGHT_BIT_COPY: (told) => `正在制作 ${told.text('model')} 的 8 位副本，仅需一次（${told.bytes('bytes')}）。`,
  WEIGHTS_KEPT: (told) => `内存中保留了 ${told.bytes('bytes')} 的编码器权重，供下一个任务使用。`,
  DEVICE_NOT_OFFERED: (told) => `此版本不支持 ${device(told)}，改用 CPU。`,
  DEVICE_TEST_FAILED: (told) => `${device(told)} 无法使用：${fault(told)}改用 CPU。`,
  DEVICE_WITH_LESS: (told) => `${device(told)} 出错：${told.failure()}任务仍在该设备上继续，每段不超过 ${told.memory('vram')}。`,
  DEVICE_GIVEN_UP: (told) => `${device(told)} 出错：${told.failure()}任务改在 CPU 上继续。`,
  LORA_NOT_MADE: (told) => `未能制作 LoRA：${told.failureOf('file', '：')}`,
  LORA_ALREADY_THERE: ofFile('那里已有相同的 LoRA，因此没有写入。'),
  LORA_OTHER_NAME: (told) =>
    `名称 ${told.text('asked')} 已被另一个 LoRA 占用；此 LoRA 命名为 ${told.text('name')}，没有覆盖任何文件。`,
  LORA_WITHOUT_PREVIEW: because((told) => `${told.text('name')} 导出时不带预览图`),
  COMFYUI_PATHS_TOO_LARGE: ofFile((told) => `文件过大（${told.bytes('bytes')}），其中的文件夹未列出。`),
  COMFYUI_PATHS_UNREADABLE: (told) => `${told.failureOf('file', '：')}其中的文件夹未列出。`,
  COMFYUI_PATHS_NO_YAML: ofFile('不是有效的 YAML，其中的文件夹未列出。'),
  COMFYUI_SECTION_LEFT_OUT: ofFile((told) => `“${told.text('section')}”的 loras 和 base_path 必须是文本，未使用此部分。`),
  COMFYUI_FOLDER_MISSING: ofFile((told) => `${told.text('folder')} 不存在，未列出。`),
  SETTINGS_NOT_READ: ofFile((told) => `不是设置文件。已使用默认设置，原文件保留为 ${told.text('aside')}。`),
  SETTINGS_LEFT_OUT: ofFile((told) => `${told.text('settings')} 的值无法使用，已改用默认值。原文件保留为 ${told.text('aside')}。`),
  TRAINING_FILL_IN: (told) => `请在 ${told.text('files')} 的开头填写 ${told.text('setting')}：${told.text('of')} 的完整路径。`,
  TRAINING_NO_IMAGES: (told) =>
    `没有图片。请将图片放入文件夹“${told.text('folder')}”，为每张图片附上写有描述的文本文件，并更正配置中的图片数量。`,
  TRAINING_IMAGE_LEFT_OUT: because('已跳过一张图片'),
  TRAINING_IMAGES_UNSEEN: (told) =>
    `图片有 ${told.number('images')} 张，而训练只有 ${told.number('steps')} 步，因此部分图片不会被用到。`,
  TRAINING_MODULES_LEFT_OUT: (told) =>
    `${told.text('trainer')} 无法训练 ${told.number('modules')} 个模块中的 ${told.number('left')} 个，这些模块会被略去。`,
  SOURCE_QUICKEST: (told) => `${told.text('hub')} 响应最快（${told.text('source')}）。`,
  SOURCE_ASKED_AGAIN: (told) => `${told.failure()}正在重新询问 ${told.text('source')}。`,
  SOURCE_TRIED_NEXT: (told) => `${told.failure()}现在改用 ${told.text('source')}。`,
  DOWNLOAD_DAMAGED: ofFile('校验值不符。将全部重新下载一次，以找出传输中损坏的部分。'),
  FAILED: because('失败'),
};
