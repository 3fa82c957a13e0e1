/* Which of the CPU levels this machine has (only the library of the baseline is asked), and the settings of a thread. */

#include <stdint.h>

#if defined(__x86_64__)
#include <cpuid.h>

/* Which vector registers the operating system saves: the XCR0 register. */
static uint32_t saved_registers(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

static int has(uint32_t found, uint32_t wanted) { return (found & wanted) == wanted; }

/* 0: the baseline, 1: all of x86-64-v3 (AVX2), 2: all of x86-64-v4 (AVX-512), the x86-64 ABI's names. */
int64_t cpu_level(void) {
  uint32_t a, b, c, d, extended;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
  uint32_t v3 = bit_FMA | bit_MOVBE | bit_OSXSAVE | bit_AVX | bit_F16C | bit_POPCNT | bit_SSE4_2 | bit_SSE4_1 | bit_SSSE3 |
                bit_SSE3 | bit_CMPXCHG16B;
  if (!has(c, v3) || !has(saved_registers(), 0x6)) return 0;
  if (!__get_cpuid(0x80000001, &a, &b, &extended, &d) || !has(extended, bit_LZCNT | bit_LAHF_LM)) return 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !has(b, bit_AVX2 | bit_BMI | bit_BMI2)) return 0;
  uint32_t v4 = bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL;
  return has(b, v4) && has(saved_registers(), 0xe6) ? 2 : 1;
}

#else

/* ARM's baseline has NEON, and there is one level. */
int64_t cpu_level(void) { return 0; }

#endif

/* Give the calling thread the arithmetic of IEEE 754: subnormal numbers, rounding to nearest. A new thread has the settings of the
 * one that made it, which other code may have changed. */
int standard_arithmetic(void) {
#if defined(__x86_64__)
  __builtin_ia32_ldmxcsr(0x1f80);
#elif defined(__aarch64__)
  __asm__ volatile("msr fpcr, %0" : : "r"(INT64_C(0)));
#endif
  return 0;
}

#if defined(_WIN32)
/* Windows calls this when it loads the library. */
int DllMainCRTStartup(void *instance, uint32_t reason, void *reserved) {
  (void)instance, (void)reason, (void)reserved;
  return 1;
}
#endif
