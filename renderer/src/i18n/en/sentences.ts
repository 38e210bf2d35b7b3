import type { Sentence, Sentences, Told } from '../told.ts';

/** After the file's name: what happened to it, and what to do. */
const about =
  (sentence: string | Sentence): Sentence =>
  (told) => {
    const words = typeof sentence === 'string' ? sentence : sentence(told);
    const subject = told.subject(': ');
    return subject === '' ? words.charAt(0).toUpperCase() + words.slice(1) : subject + words;
  };

const asTold: Sentence = ({ message }) => message;

const SYSTEM: Readonly<Record<string, string>> = {
  EACCES: ' (permission denied)',
  EPERM: ' (permission denied)',
  EEXIST: ' (a file is in the way)',
  EISDIR: ' (it is a folder)',
  ENOTDIR: ' (a part of its path is not a folder)',
  EROFS: ' (the disk is read-only)',
  EFBIG: ' (the file grew past a size limit)',
};
const why = (told: Told): string => told.with('system', (code) => SYSTEM[code] ?? '');

const space = (told: Told): string =>
  told.has('needed') && told.has('free')
    ? `${told.bytes('needed')} are needed and ${told.bytes('free')} are free`
    : 'the disk is full';

export const sentences: Sentences = {
  several: (failed, all) => `${failed} of ${all} failed; run the job again for these. The first: `,
  codes: {
    FILE_NOT_FOUND: about('it is not there. Check the path, or put it back.'),
    // Without the system's word it is the content that can't be read, and the app's own words say what of it.
    FILE_UNREADABLE: (told) => (told.has('system') ? about(`it can’t be read${why(told)}.`)(told) : told.message),
    FILE_WRITE_FAILED: about((told) => `it can’t be written${why(told)}. Check the permissions, or choose another place.`),
    FILE_TOO_LARGE: about((told) => `only files up to ${told.memory('most')} are taken.`),
    DISK_FULL: about((told) => `${space(told)}. Free some space, or choose another folder.`),
    OUTPUT_IS_INPUT: about('it is also what the result is made of. Choose another name for the result.'),
    PATH_TOO_LONG: about('the path is too long. Choose a shorter name or sub-folder.'),
    COMFYUI_NOT_FOUND: (told) =>
      told.has('file')
        ? `${told.text('file')}: no ComfyUI is there. Choose the folder with main.py and models in it, or its loras folder.`
        : 'No ComfyUI was found on this machine. Name its folder in Settings.',
    SAFETENSORS_HEADER: about(
      (told) => `this is not a usable safetensors file${told.with('why', (text) => `: ${text}`)}. Download or copy it again.`,
    ),
    SAFETENSORS_TENSOR: about(
      (told) =>
        `the tensor${told.with('tensor', (name) => ` “${name}”`)} is damaged or of an unknown kind. Download the file again.`,
    ),
    SAFETENSORS_INDEX: about(
      (told) => `the files of this model don’t belong together${told.with('why', (text) => `: ${text}`)}. Download it again.`,
    ),
    MODEL_MISSING: (told) =>
      `Not on this machine: ${told.has('models') ? told.text('models') : told.text('model')}${told.has('bytes') ? ` (${told.bytes('bytes')})` : ''}. Download it on the Models screen, or say there where it lies.`,
    MODEL_UNRECOGNISED: about(
      (told) => `this is not the model that it should be${told.with('expected', (id) => ` (${id})`)}. Take the original file.`,
    ),
    MODEL_MISMATCH: about('it doesn’t fit the other models of this job. Take all of the same release.'),
    TENSOR_MISSING: about(
      (told) => `the tensor${told.with('tensor', (name) => ` “${name}”`)} is missing. The file is of another model.`,
    ),
    TENSOR_SHAPE: about(
      (told) =>
        `the tensor${told.with('tensor', (name) => ` “${name}”`)} has the shape ${told.text('got')} and not ${told.text('expected')}. The file is of another model.`,
    ),
    CONFIG_INVALID: about((told) => `the model’s configuration can’t be used${told.with('why', (text) => `: ${text}`)}.`),
    LICENCE_NOT_ACCEPTED: (told) =>
      told.has('licence')
        ? `${told.text('title')}: read it at ${told.text('url')} and accept it before the download.`
        : `The owners of ${told.text('repo')} want their terms accepted first: read them at ${told.text('url')}, then give the token of that account.`,
    TOKEN_REFUSED: (told) =>
      `${told.text('repo')} needs a valid access token. Make one in your account’s settings at the hub and give it on the Models screen.`,
    HUB_NOT_FOUND: (told) =>
      `${told.text('repo')} has no such file${told.with('path', (path) => ` (${path})`)} at ${told.text('source')}. Choose another source.`,
    HUB_UNREACHABLE: (told) =>
      told.has('stalled')
        ? `${told.text('source')} sends nothing any more. Check the connection, or choose another source.`
        : `${told.text('source')} can’t be reached${told.with('system', (code) => ` (${code})`)}. Check the connection, or choose another source.`,
    HUB_RESPONSE: (told) =>
      `${told.text('source')}: the answer can’t be used${told.with('why', (text) => `: ${text}`)}. Try again later, or choose another source.`,
    RATE_LIMITED: (told) =>
      `Too many requests. Try again ${told.has('retryAfterMs') ? `in ${told.duration('retryAfterMs', 0.001)}` : 'later'}, or with an access token.`,
    HASH_MISMATCH: about('what came has another checksum than its hub says, so nothing was kept. Choose another source.'),
    SOURCE_CHANGED: (told) =>
      `${told.text('path')} of ${told.text('repo')} was changed during the download. Start the download again.`,
    DOWNLOAD_BUSY: about('it is being downloaded already. Wait for that, or stop it.'),
    LORA_KEYS: about((told) => `its keys are not of a LoRA that this app understands${told.with('keys', (keys) => `: ${keys}`)}.`),
    LORA_MISMATCH: about((told) => `it is for another model than the other LoRA${told.with('module', (path) => ` (${path})`)}.`),
    IMAGE_INVALID: about('it can’t be used as an image. Choose another.'),
    IMAGE_TOO_SMALL: about(
      (told) => `${told.text('width')} × ${told.text('height')} pixels are too few. Each side needs 16 or more.`,
    ),
    IMAGE_TOO_LARGE: about('the image is too large. Make it smaller.'),
    NO_IMAGES: about('there is no image here.'),
    IMAGES_REFUSED: (told) =>
      `Some images can’t be used; mend them, remove them, or choose to leave out what can’t be used: ${told.text('refused')}`,
    LIBRARY_IN_USE: (told) =>
      `${told.has('name') ? told.text('name') : 'Another program'} uses the library. Close it, or wait until it has ended.`,
    LIBRARY_BUSY: about('another program keeps writing to the library. Try again in a moment.'),
    LIBRARY_DAMAGED: about('the library is damaged. Go back to a backup with “i2l library restore”.'),
    LIBRARY_NEWER: about('a newer version of i2L Studio has written it. Start this one again, or update it.'),
    NOT_IN_LIBRARY: (told) => {
      if (told.has('hash')) return `This image is not in the ${told.has('set') ? 'image set' : 'library'} any more.`;
      return `This ${told.has('set') ? 'image set ' : ''}is not in the library any more.`;
    },
    MEMORY_BUDGET: (told) => {
      const least = told.memory('smallest');
      const most = told.memory('budget');
      if (told.has('file') && !told.has('stage'))
        return `${told.text('file')}: to decode its ${told.text('width')} x ${told.text('height')} pixels, the engine needs ${least} and may take ${most}. Allow more memory in Settings, or make the image smaller.`;
      const advice = told.is('option', '--vram') ? 'Choose the CPU in Settings.' : 'Allow more memory in Settings.';
      return `${told.text('network')} needs ${least} for ${told.text('stage')} and may take ${most}. ${advice}`;
    },
    DEVICE_UNAVAILABLE: (told) => `The device ${told.text('device')} can’t be used. Choose another in Settings.`,
    ENGINE_CRASHED: (told) => {
      if (told.has('silentSeconds'))
        return `Nothing was heard of the engine for ${told.duration('silentSeconds')}, so it was ended. What was half written is removed; run the job again.`;
      const memory = told.is('signal', 'SIGKILL') ? ' The system may have run out of memory: allow less in Settings.' : '';
      return `The engine stopped before it was done. What was half written is removed; run the job again.${memory}`;
    },
    ENGINE_PROTOCOL: asTold,
    SESSION_FAILED: asTold,
    NOT_FINITE: about(
      (told) =>
        `it gave a value that is not a finite number${told.with('module', (path) => ` (${path})`)}. The file may be damaged.`,
    ),
    CANCELLED: () => 'It was stopped.',
    CONNECTION_LOST: about('the connection to the app was lost before it answered. Try again.'),
    JOB_NOT_FOUND: () => 'This job is not in the queue any more.',
    JOB_STATE: () => 'The job is in another state by now, so this can’t be done.',
    JOB_KIND: (told) => `This version knows no job of the kind “${told.text('kind')}”.`,
    JOB_CRASHED: (told) =>
      `The app ended ${told.text('crashes')} times in a row at the same step, so the job is not started again by itself. Run it again, with less memory if it may have used it up.`,
    BAD_ARGUMENT: asTold,
    UNSUPPORTED: asTold,
    INTERNAL: asTold,
  },
  reasons: {
    'in-the-way': about('another file is in the way. Move it, or choose another name.'),
    'many-versions': about('there are too many versions of this name. Choose another.'),
    'copy-differs': about('the copy differs from its source, which changed meanwhile, or the disk failed. Try again.'),
    'held-by-others': about('another program holds it. Close other windows of i2L Studio and try again.'),
    'changed-since': about('it is not the file any more that was downloaded, so it is left. Remove it by hand.'),
    'not-understood': about('it can’t be understood, and can’t be set aside either. Move it away.'),
    'image-moved': about('this image is gone or has changed. Put it back, or take it out of the set.'),
    'changed-meanwhile': about('it was changed while it was read. Try again.'),
    'too-many-files': about(
      (told) =>
        `it is too large to be looked through; the search stopped at ${told.text('stoppedAt')}. Choose the folder that has the models.`,
    ),
    'not-as-published': about(
      'what came is not the model that this version knows, so nothing was kept. Look for a newer version of this app.',
    ),
    'bad-factors': about('its factors don’t make a LoRA. The file is damaged, or of another kind.'),
    'key-form': about('it can’t be written with these key names. Choose others.'),
    'not-safetensors': about('this is no LoRA. Only .safetensors files can be imported.'),
    'no-trainer-target': about('it is a LoRA for neither Qwen-Image nor Z-Image, so no training config can be written.'),
    'image-empty': about('the file is empty.'),
    'not-an-image': about('it is not an image, or of a kind that can’t be read.'),
    'image-kind': about('images of this kind can’t be read. Save it as PNG or JPEG.'),
    'image-cut-off': about('the image is damaged or cut off. Save or download it again.'),
    'no-preview': about('no preview can be made of it. Choose another image.'),
    'no-folders': about('there is no folder in this folder.'),
    'folder-emptied': about('there is no image left in this folder. The set stays as it was.'),
    'all-refused': about((told) => `none of the images can be used${told.with('refused', (list) => `: ${list}`)}`),
    'copies-in-use': () => 'A job uses the 8-bit copies. Delete them when it is done.',
    'no-weight': about('no image of this set has a weight above 0. Add one, or raise one.'),
    'not-a-library': about('this is not a library of i2L Studio. Move it away.'),
    'library-emptied': about('the library is empty, and there are backups. Go back to one with “i2l library restore”.'),
    'in-trash': about('this image set is in the trash. Restore it first.'),
    'mirrors-no-folder': about('this image set mirrors no folder.'),
    'path-not-whole': about('give the whole path, from the root or the drive on.'),
    'no-picker': () => 'A browser can’t choose files of the machine that computes. Give their path.',
    'path-not-chosen': about('choose it by the button beside the field.'),
    'path-of-device': about('this is a device and no file.'),
    'mirror-without-hub': () => 'A mirror needs a hub that it is a mirror of: choose Hugging Face or ModelScope.',
    'endpoint-form': (told) => `The address of the hub has to look like ${told.text('example')}.`,
    'token-form': () => 'The token has to be one word of plain characters.',
    'no-token-store': () => 'Tokens can’t be kept here. Set HF_TOKEN or MODELSCOPE_API_TOKEN before the start.',
    'not-downloaded-here': about('this app did not download it, so it removes nothing.'),
    'nothing-to-merge': () => 'Every strength is 0, so there is nothing to merge.',
    'folder-not-empty': about('there is something in it, and nothing is overwritten. Choose a new folder.'),
    'name-in-brackets': about('ai-toolkit replaces the text [name] in every path. Choose another folder.'),
    'template-field': (told) => `“${told.text('template')}”: there is no {${told.text('field')}}.`,
    'subfolder-outside': (told) => `“${told.text('subfolder')}”: a sub-folder lies in the loras folder. Give a name such as i2L.`,
    'same-output': about('two LoRAs would be written there. Give each a name of its own.'),
    'not-in-browser': () => 'Only the desktop app can do this. In a browser, download the file in its place.',
  },
};
