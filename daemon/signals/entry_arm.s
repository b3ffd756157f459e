#include "textflag.h"

// See entry.go.

// struct sigaction of the kernel: handler, flags (SA_RESTART|SA_ONSTACK|SA_RESTORER|SA_SIGINFO), restorer, mask (SIGHUP, SIGINT, SIGTERM).
DATA noting<>+0(SB)/4, $·handler(SB)
DATA noting<>+4(SB)/4, $0x1C000004
DATA noting<>+8(SB)/4, $·restorer(SB)
DATA noting<>+12(SB)/4, $0x4003
GLOBL noting<>(SB), RODATA|NOPTR, $20

DATA ignoring<>+0(SB)/4, $1 // SIG_IGN
GLOBL ignoring<>(SB), RODATA|NOPTR, $20

DATA held<>+0(SB)/4, $0x4002 // SIGINT, SIGTERM
GLOBL held<>(SB), RODATA|NOPTR, $8

DATA program<>+0(SB)/8, $"/proc/se"
DATA program<>+8(SB)/8, $"lf/exe\x00\x00"
GLOBL program<>(SB), RODATA|NOPTR, $16

GLOBL before<>(SB), NOPTR, $20
GLOBL arguments<>(SB), NOPTR, $4

// rt_sigaction(2). A system call keeps all registers but R0. R4 is the runtime's (sigfwd), R10 is g, R11 the assembler's.
#define SET(signal, action) \
	MOVW	$signal, R0 \
	MOVW	$action, R1 \
	MOVW	$0, R2 \
	MOVW	$8, R3 \
	MOVW	$174, R7 \
	SWI	$0
#define ASK(signal) \
	MOVW	$signal, R0 \
	MOVW	$0, R1 \
	MOVW	$before<>(SB), R2 \
	MOVW	$8, R3 \
	MOVW	$174, R7 \
	SWI	$0 \
	MOVW	before<>(SB), R3 \
	CMP	$1, R3

// tgkill(2), with the process in R5 and the thread in R6.
#define SEND(signal) \
	MOVW	R5, R0 \
	MOVW	R6, R1 \
	MOVW	signal, R2 \
	MOVW	$268, R7 \
	SWI	$0

TEXT ·entry(SB), NOSPLIT|NOFRAME, $0
	MOVW	R13, R3
	MOVW	R3, arguments<>(SB)
	SET(15, noting<>(SB)) // SIGTERM
	ASK(2) // SIGINT
	BEQ	hup
	SET(2, noting<>(SB))
hup:
	ASK(1) // SIGHUP
	BEQ	usr
	SET(1, noting<>(SB))
usr:
	SET(10, ignoring<>(SB)) // SIGUSR1
	SET(12, ignoring<>(SB)) // SIGUSR2
	B	_rt0_arm_linux(SB)

TEXT ·handler(SB), NOSPLIT|NOFRAME, $0
	MOVW	·phase(SB), R1
	CMP	$1, R1
	BEQ	done
	BHI	leaving
	MOVW	$1, R1
	MOVW	R1<<R0, R1
	MOVW	·noted(SB), R8
	ORR	R1, R8
	MOVW	R8, ·noted(SB)
	MOVW	$·restorer(SB), R1
	CMP	R1, R14
	BNE	again
done:
	RET

again: // the runtime has called us, and would end the process
	MOVW	$0, R0 // SIG_BLOCK
	MOVW	$held<>(SB), R1
	MOVW	$0, R2
	MOVW	$8, R3
	MOVW	$175, R7 // rt_sigprocmask
	SWI	$0
	MOVW	$20, R7 // getpid
	SWI	$0
	MOVW	R0, R5
	MOVW	$224, R7 // gettid
	SWI	$0
	MOVW	R0, R6
	TST	$(1<<2), R8
	BEQ	term
	SEND($2)
term:
	TST	$(1<<15), R8
	BEQ	hup
	SEND($15)
hup:
	TST	$(1<<1), R8
	BEQ	exec
	SET(1, ignoring<>(SB))
exec:
	MOVW	$program<>(SB), R0
	MOVW	arguments<>(SB), R1
	MOVW	0(R1), R3 // argc
	ADD	$4, R1 // argv
	ADD	R3<<2, R1, R2
	ADD	$4, R2 // envp
	MOVW	$11, R7 // execve
	SWI	$0
	MOVW	$1, R0 // it has failed: the signal has its way
	MOVW	R0, ·phase(SB)
	MOVW	$held<>(SB), R1 // R0 is SIG_UNBLOCK
	MOVW	$0, R2
	MOVW	$8, R3
	MOVW	$175, R7 // rt_sigprocmask
	SWI	$0
	RET

leaving:
	MOVW	R0, R8
	MOVW	$20, R7 // getpid
	SWI	$0
	MOVW	R0, R5
	MOVW	·leaver(SB), R6
	SEND(R8)
	RET

TEXT ·restorer(SB), NOSPLIT|NOFRAME, $0
	MOVW	$173, R7 // rt_sigreturn
	SWI	$0
	WORD	$0xE7F001F0 // an undefined instruction

TEXT ·addresses(SB), NOSPLIT, $0-8
	MOVW	$·handler(SB), R0
	MOVW	R0, handler+0(FP)
	MOVW	$·restorer(SB), R0
	MOVW	R0, restorer+4(FP)
	RET
