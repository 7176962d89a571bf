/**
 * Keeps what one process enqueues at once from overshooting the queue's bound: a count of waiting jobs is old by the
 * time the job arrives. Far below the bound nothing waits; near it jobs go one by one, each counted after the one
 * before has arrived. Other processes are not known here, so together they may exceed the bound by as many jobs as they
 * have under way.
 */
export interface AdmissionBound {
  /**
   * Runs `admit` when there is room for one more.
   *
   * @param waiting how many jobs waited when the caller looked.
   * @param recount looks again.
   * @param refuse makes the error for a full queue.
   */
  run<T>(request: {
    readonly waiting: number
    readonly bound: number
    readonly recount: () => Promise<number>
    readonly admit: () => Promise<T>
    readonly refuse: (waiting: number) => Error
  }): Promise<T>
}

/** A bound for one pool in this process. */
export function createAdmissionBound(): AdmissionBound {
  const underWay = new Set<Promise<unknown>>()
  let queue: Promise<unknown> = Promise.resolve()
  let queued = 0

  async function track<T>(work: Promise<T>): Promise<T> {
    const settled = work.catch(() => undefined)
    underWay.add(settled)
    try {
      return await work
    } finally {
      underWay.delete(settled)
    }
  }

  return {
    run({ waiting, bound, recount, admit, refuse }) {
      // What is under way may be in the count already; that only means to look more closely.
      if (queued === 0 && waiting + underWay.size < bound) return track(admit())
      queued += 1
      const turn = queue.then(async () => {
        await Promise.all(underWay)
        const now = await recount()
        if (now >= bound) throw refuse(now)
        return admit()
      })
      queue = turn.then(
        () => undefined,
        () => undefined,
      )
      return turn.finally(() => {
        queued -= 1
      })
    },
  }
}
