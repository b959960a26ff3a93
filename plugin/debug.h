/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Flags that "nbdkit -D trueno-zram.NAME=N" sets.
 *
 * The server looks for a symbol made of the plugin's name, which has a dash
 * in it that no C name can hold; but the assembler takes any name in quotes.
 * A label on the C declaration would not do: gcc copies it as it stands and
 * clang quotes it, and with sanitizers gcc derives other names from it.
 */
#ifndef DEBUG_H
#define DEBUG_H

#define DEBUG_FLAG(name)                                                    \
  __attribute__ ((__used__)) int debug_##name;                              \
  __asm__ (".globl \"trueno-zram_debug_" #name "\"\n"                       \
           ".type \"trueno-zram_debug_" #name "\", %object\n"               \
           ".size \"trueno-zram_debug_" #name "\", 4\n"                     \
           ".set \"trueno-zram_debug_" #name "\", debug_" #name)

#endif /* DEBUG_H */
