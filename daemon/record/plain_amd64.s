//go:build !purego

#include "textflag.h"

// TWICE puts the eight bytes of r twice into x.
#define TWICE(r, x) \
	MOVQ r, x \
	PUNPCKLQDQ x, x

// func plainSSE2(data []byte, stop byte) int
TEXT ·plainSSE2(SB), NOSPLIT, $0-40
	MOVQ data_base+0(FP), SI
	MOVQ data_len+8(FP), CX
	MOVBQZX stop+24(FP), DX
	MOVQ $0x0101010101010101, AX
	IMULQ AX, DX
	TWICE(AX, X4)  // ones
	TWICE(DX, X5)  // stop
	MOVQ $0x5c5c5c5c5c5c5c5c, AX
	TWICE(AX, X6)  // backslashes
	MOVQ $0x2020202020202020, AX
	TWICE(AX, X7)  // spaces
	SUBQ $16, CX   // where the last block begins
	XORQ DX, DX    // where this one does

block:
	MOVOU (SI)(DX*1), X0
	MOVO X0, X1
	MOVO X0, X2
	PADDB X4, X0
	PCMPGTB X7, X0 // signed: from ' '+1 to '~'+1
	PCMPEQB X5, X1
	PCMPEQB X6, X2
	POR X2, X1
	PANDN X0, X1   // the former, and neither of the latter
	PMOVMSKB X1, AX
	XORL $0xffff, AX
	JNE special
	CMPQ DX, CX
	JEQ all
	ADDQ $16, DX
	CMPQ DX, CX
	JLE block
	MOVQ CX, DX    // the last one overlaps with that before it
	JMP block

special:
	BSFL AX, AX
	ADDQ AX, DX
	MOVQ DX, ret+32(FP)
	RET

all:
	ADDQ $16, DX
	MOVQ DX, ret+32(FP)
	RET
