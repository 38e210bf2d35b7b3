import { notePartsIn } from '../note-parts.ts';
import type { Notes } from '../told.ts';
import { faultOf, settings } from './settings.ts';

const { ofFile, because, device, fault } = notePartsIn({ colon: ': ', devices: settings.devices, faultOf });

/** What is said of a job on its way, of ComfyUI's files and of the settings, beside failures. */
export const notes: Notes = {
  IMAGE_TURNED: ofFile('turned upright, as its EXIF orientation says.'),
  IMAGE_FIRST_FRAME: ofFile((told) => `animated: only the first of ${told.number('frames')} frames is used.`),
  IMAGE_FIRST_PAGE: ofFile((told) => `only the first of ${told.number('pages')} pages is used.`),
  IMAGE_ON_WHITE: ofFile('transparent parts are laid on white.'),
  IMAGE_FROM_CMYK: ofFile('CMYK colours are converted to sRGB.'),
  IMAGE_TO_SRGB: ofFile('its colour profile is converted to sRGB.'),
  IMAGE_TO_8_BITS: ofFile('reduced to 8 bits a channel.'),
  IMAGE_GREY: ofFile('greyscale: all three channels are the same.'),
  IMAGE_MIDDLE: ofFile((told) => `${told.text('width')} × ${told.text('height')} pixels: only its middle square is seen.`),
  IMAGE_REFUSED: (told) => `Image can’t be used: ${told.failureOf('file', ': ')}`,
  EMBEDDINGS_NOT_KEPT: because('What the encoders see is not kept for later jobs'),
  EIGHT_BIT_NOT_USED: (told) => `Encoders in 8 bits are for the CPU. On ${device(told)} their weights are used as they are.`,
  EIGHT_BIT_COPY: (told) => `An 8-bit copy of ${told.text('model')} is made, once (${told.bytes('bytes')}).`,
  WEIGHTS_KEPT: (told) => `The next job finds ${told.bytes('bytes')} of encoders in memory.`,
  DEVICE_NOT_OFFERED: (told) => `${device(told)} is not offered by this build. The CPU is used in its place.`,
  DEVICE_TEST_FAILED: (told) => `${device(told)} can’t be used: ${fault(told)} The CPU is used in its place.`,
  DEVICE_WITH_LESS: (told) =>
    `${device(told)} failed: ${told.failure()} The job goes on there with stages of at most ${told.memory('vram')}.`,
  DEVICE_GIVEN_UP: (told) => `${device(told)} failed: ${told.failure()} The job goes on, on the CPU.`,
  LORA_NOT_MADE: (told) => `LoRA not made: ${told.failureOf('file', ': ')}`,
  LORA_ALREADY_THERE: ofFile('the same LoRA is there already, so nothing was written.'),
  LORA_OTHER_NAME: (told) =>
    `Another LoRA has the name ${told.text('asked')}. This one is called ${told.text('name')}, and nothing was overwritten.`,
  LORA_WITHOUT_PREVIEW: because((told) => `${told.text('name')} goes without its preview`),
  COMFYUI_PATHS_TOO_LARGE: ofFile((told) => `it is too large (${told.bytes('bytes')}), so its folders are not listed.`),
  COMFYUI_PATHS_UNREADABLE: (told) => `${told.failureOf('file', ': ')} Its folders are not listed.`,
  COMFYUI_PATHS_NO_YAML: ofFile('it is not valid YAML, so its folders are not listed.'),
  COMFYUI_SECTION_LEFT_OUT: ofFile(
    (told) => `loras and base_path of “${told.text('section')}” need to be text; the section is not used.`,
  ),
  COMFYUI_FOLDER_MISSING: ofFile((told) => `${told.text('folder')} is not there, so it is not listed.`),
  SETTINGS_NOT_READ: ofFile(
    (told) => `it is no settings file. The defaults are used, and the file is kept as ${told.text('aside')}.`,
  ),
  SETTINGS_LEFT_OUT: ofFile(
    (told) =>
      `the values of ${told.text('settings')} can’t be used, so defaults are in their place. The file is kept as ${told.text('aside')}.`,
  ),
  TRAINING_FILL_IN: (told) =>
    `Fill in ${told.text('setting')} at the top of ${told.text('files')}: the whole path of ${told.text('of')}.`,
  TRAINING_NO_IMAGES: (told) =>
    `There are no images. Put some into the folder “${told.text('folder')}”, each with a text file of its caption, and correct what counts them.`,
  TRAINING_IMAGE_LEFT_OUT: because('Image left out'),
  TRAINING_IMAGES_UNSEEN: (told) => {
    const images = `${told.number('images')} images are more than ${told.number('steps')} steps`;
    return `${images}, so some are not seen.`;
  },
  TRAINING_MODULES_LEFT_OUT: (told) =>
    `${told.text('trainer')} can’t train ${told.number('left')} of the ${told.number('modules')} modules and leaves them out.`,
  SOURCE_QUICKEST: (told) => `${told.text('hub')} answers quickest (${told.text('source')}).`,
  SOURCE_ASKED_AGAIN: (told) => `${told.failure()} ${told.text('source')} is asked again.`,
  SOURCE_TRIED_NEXT: (told) => `${told.failure()} ${told.text('source')} is tried now.`,
  DOWNLOAD_DAMAGED: ofFile('its checksum is wrong. All of it is fetched once more, to find the part that was damaged on its way.'),
  FAILED: because('Failed'),
};
