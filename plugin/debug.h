/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Flags that "nbdkit -D trueno-zram.NAME=N" sets.
 *
 * The server looks for a symbol made of the plugin's name, which has a dash
 * in it that no C name can hold.  So the symbol is given to the assembler:
 * gcc copies a label as it stands, which must then bring its own quotes, and
 * clang quotes it where it must.
 */
#ifndef DEBUG_H
#define DEBUG_H

#ifdef __clang__
#define DEBUG_SYMBOL(name) "trueno-zram_debug_" #name
#else
#define DEBUG_SYMBOL(name) "\"trueno-zram_debug_" #name "\""
#endif

#define DEBUG_FLAG(name)                                                    \
  extern int debug_##name __asm__ (DEBUG_SYMBOL (name))                     \
      __attribute__ ((__visibility__ ("default")));                         \
  int debug_##name

#endif /* DEBUG_H */
