import type { Redis } from 'ioredis'

/** Processor time Redis has used so far, user and system (µs). */
export async function redisCpuMicros(redis: Redis): Promise<number> {
  const info = await redis.info('cpu')
  const seconds = (field: string) => Number(new RegExp(`^${field}:([\\d.]+)`, 'm').exec(info)?.[1])
  return (seconds('used_cpu_user') + seconds('used_cpu_sys')) * 1e6
}

/** Processor time this process has used so far, user and system (µs). */
export function ownCpuMicros(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}
