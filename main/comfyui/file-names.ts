import { I2lError } from '../contract/errors.ts';
import { safeName } from '../weights/file-names.ts';

/** What a name can be made of. */
export const NAME_FIELDS = ['name', 'target', 'rank', 'date', 'images'] as const;
export type NameField = (typeof NAME_FIELDS)[number];

/**
 * Fills {fields} into a template. A field without a value goes, with what joined it to its neighbours:
 * '{name}_{rank}' without a rank is '{name}'.
 * @throws I2lError BAD_ARGUMENT for a field that does not exist
 */
export function fillTemplate(template: string, fields: Readonly<Partial<Record<NameField, string>>>): string {
  const filled = template.replace(/([-_ ,.]*)\{([^{}]*)\}/g, (_, joint: string, field: string) => {
    if (!isField(field)) {
      const known = NAME_FIELDS.map((name) => `{${name}}`).join(', ');
      throw new I2lError('BAD_ARGUMENT', `"${template}": there is no {${field}}; a name is made of ${known}.`, {
        template,
        field,
        reason: 'template-field',
      });
    }
    const value = fields[field] ?? '';
    return value === '' ? '' : joint + value;
  });
  return safeName(filled.replace(/^[-_ ,]+/, ''));
}

function isField(text: string): text is NameField {
  return (NAME_FIELDS as readonly string[]).includes(text);
}

/**
 * The parts of a sub-folder that a user wrote with either separator.
 * @throws I2lError BAD_ARGUMENT for one that leads elsewhere
 */
export function subfolderParts(subfolder: string): string[] {
  const parts = subfolder.split(/[\\/]/).filter((part) => part !== '' && part !== '.');
  const leadsOut = /^[\\/]|^[a-z]:/i.test(subfolder) || parts.some((part) => /^\s*\.\.[\s.]*$/.test(part));
  if (leadsOut) {
    throw new I2lError('BAD_ARGUMENT', `"${subfolder}": a sub-folder lies in the loras folder; give a name such as i2L.`, {
      subfolder,
      reason: 'subfolder-outside',
    });
  }
  return parts.map((part) => safeName(part));
}
