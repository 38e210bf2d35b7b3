import type { Command } from 'commander';
import { parseCount, parseList } from './arguments.ts';
import { JOB_ACTIONS, type JobAction } from './job-actions.ts';
import type * as Commands from './jobs-commands.ts';
import type { Act } from './models-options.ts';
import type { ReportOptions } from './report.ts';

/** i2l jobs …; what does the work is loaded when it is asked for. */
export function registerJobs(jobs: Command, shown: (command: Command) => Command, act: Act): void {
  const commands = async (): Promise<typeof Commands> => import('./jobs-commands.ts');

  shown(jobs.command('ls'))
    .description('list jobs, in the order in which they run; ended ones behind')
    .option('--state <names>', 'only those in these states', parseList)
    .action((options: Commands.ListJobsOptions & ReportOptions) =>
      act(options, async (context) => (await commands()).listJobs(context, options)),
    );

  shown(jobs.command('show'))
    .description('one job, with its error and its log')
    .argument('<id>', 'its number', parseCount)
    .action((id: number, options: ReportOptions) => act(options, async (context) => (await commands()).showJob(context, id)));

  for (const [action, description] of Object.entries(JOB_ACTIONS)) {
    shown(jobs.command(action))
      .description(description)
      .argument('<id...>', 'numbers of jobs', (text, ids: number[] = []) => [...ids, parseCount(text)])
      .action((ids: number[], options: ReportOptions) =>
        act(options, async (context) => (await commands()).changeJobs(context, action as JobAction, ids)),
      );
  }
}
