/** The machine as a search sees it; all of it can be replaced, so that a made-up home folder works. */
export interface Surroundings {
  readonly home: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly platform: NodeJS.Platform;
}
