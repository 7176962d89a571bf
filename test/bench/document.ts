import { z } from 'zod'

// Counts, and what a reader gets of an answer that is lost, may well be none; times and rates may not.
const counted = /(?:^races|_errors$|_tokens$|_commands$|_connections$|_whole$|_heap_mib$|_percent$)/

const measured = z
  .record(z.string(), z.number().nonnegative())
  .refine((figures) => Object.entries(figures).every(([name, value]) => value > 0 || counted.test(name)), {
    error: 'expected times and rates above 0',
  })

/** The document that the benches print. */
export const documentSchema = z.strictObject({
  machine: z.strictObject({
    cpu: z.string().min(1),
    cores: z.number().int().positive(),
    memory_gib: z.number().positive(),
    kernel: z.string().min(1),
    node: z.string().startsWith('v'),
    redis: z.string().includes('append-only file off'),
    load_before: z.number().nonnegative(),
    date: z.iso.datetime(),
  }),
  benches: z.array(
    z.strictObject({
      name: z.string(),
      question: z.string().endsWith('?'),
      figures: measured,
      baseline: measured,
      ratios: measured,
      bars: z.array(
        z.strictObject({
          what: z.string().min(1),
          bar: z.string().regex(/^[<>]= [\d.]+$/),
          got: z.number().nonnegative(),
          met: z.boolean(),
        }),
      ),
      again_on: z.iso.datetime().optional(),
    }),
  ),
})
