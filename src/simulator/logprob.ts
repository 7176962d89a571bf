import { mix } from './model.ts'

/** The shortest decimal that reads back as the same float32, with a fraction always: what Rust's serde writes. */
export function formatFloat32(value: number): string {
  if (!Number.isFinite(value)) return 'null'
  if (Object.is(value, -0)) return '-0.0'
  const exact = Math.fround(value)
  for (let digits = 1; digits <= 9; digits += 1) {
    const text = exact.toPrecision(digits)
    if (Math.fround(Number(text)) !== exact) continue
    const short = String(Number(text))
    return /[.e]/.test(short) ? short : `${short}.0`
  }
  return String(exact)
}

// Written out once: formatting a float32 costs more than all the rest of a token.
const TEXTS = Array.from({ length: 1024 }, (_, index) => {
  const uniform = (mix(index + 1) + 1) / 4_294_967_297
  return formatFloat32(Math.max(-9, Math.log(uniform) / 3))
})

/** A token's logprob as JSON, a float32 between -9 and 0; `draw` are the token's pseudo-random bits. */
export function logprobText(draw: number): string {
  return TEXTS[(draw >>> 8) & 1023] ?? '-1.0'
}

/** The logprob of the token that came `rank` places (from 1) after one with `draw`: always below its own. */
export function lowerLogprobText(draw: number, rank: number): string {
  return formatFloat32(Number(logprobText(draw)) - rank * 0.75)
}
