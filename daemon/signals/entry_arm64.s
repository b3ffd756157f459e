#include "textflag.h"

// See entry.go.

// struct sigaction of the kernel: handler, flags (SA_RESTART|SA_ONSTACK|SA_RESTORER|SA_SIGINFO), restorer, mask (SIGHUP, SIGINT, SIGTERM).
DATA noting<>+0(SB)/8, $·handler(SB)
DATA noting<>+8(SB)/8, $0x1C000004
DATA noting<>+16(SB)/8, $·restorer(SB)
DATA noting<>+24(SB)/8, $0x4003
GLOBL noting<>(SB), RODATA|NOPTR, $32

DATA ignoring<>+0(SB)/8, $1 // SIG_IGN
GLOBL ignoring<>(SB), RODATA|NOPTR, $32

DATA held<>+0(SB)/8, $0x4002 // SIGINT, SIGTERM
GLOBL held<>(SB), RODATA|NOPTR, $8

DATA program<>+0(SB)/8, $"/proc/se"
DATA program<>+8(SB)/8, $"lf/exe\x00\x00"
GLOBL program<>(SB), RODATA|NOPTR, $16

GLOBL before<>(SB), NOPTR, $32
GLOBL arguments<>(SB), NOPTR, $8

// rt_sigaction(2). A system call keeps all registers but R0.
#define SET(signal, action) \
	MOVD	$signal, R0 \
	MOVD	$action, R1 \
	MOVD	$0, R2 \
	MOVD	$8, R3 \
	MOVD	$134, R8 \
	SVC
#define ASK(signal) \
	MOVD	$signal, R0 \
	MOVD	$0, R1 \
	MOVD	$before<>(SB), R2 \
	MOVD	$8, R3 \
	MOVD	$134, R8 \
	SVC \
	MOVD	before<>(SB), R9 \
	CMP	$1, R9

// tgkill(2), with the process in R11 and the thread in R12.
#define SEND(signal) \
	MOVD	R11, R0 \
	MOVD	R12, R1 \
	MOVD	signal, R2 \
	MOVD	$131, R8 \
	SVC

TEXT ·entry(SB), NOSPLIT|NOFRAME, $0
	MOVD	RSP, R9
	MOVD	R9, arguments<>(SB)
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
	JMP	_rt0_arm64_linux(SB)

TEXT ·handler(SB), NOSPLIT|NOFRAME, $0
	MOVWU	·phase(SB), R9
	CMP	$1, R9
	BEQ	done
	BHI	leaving
	MOVD	$1, R10
	LSL	R0, R10, R10
	MOVWU	·noted(SB), R13
	ORR	R10, R13, R13
	MOVW	R13, ·noted(SB)
	MOVD	$·restorer(SB), R10
	CMP	R10, R30
	BNE	again
done:
	RET

again: // the runtime has called us, and would end the process
	MOVD	$0, R0 // SIG_BLOCK
	MOVD	$held<>(SB), R1
	MOVD	$0, R2
	MOVD	$8, R3
	MOVD	$135, R8 // rt_sigprocmask
	SVC
	MOVD	$172, R8 // getpid
	SVC
	MOVD	R0, R11
	MOVD	$178, R8 // gettid
	SVC
	MOVD	R0, R12
	TBZ	$2, R13, term
	SEND($2)
term:
	TBZ	$15, R13, hup
	SEND($15)
hup:
	TBZ	$1, R13, exec
	SET(1, ignoring<>(SB))
exec:
	MOVD	$program<>(SB), R0
	MOVD	arguments<>(SB), R1
	MOVD	0(R1), R9 // argc
	ADD	$8, R1, R1 // argv
	ADD	R9<<3, R1, R2
	ADD	$8, R2, R2 // envp
	MOVD	$221, R8 // execve
	SVC
	MOVD	$1, R0 // it has failed: the signal has its way
	MOVW	R0, ·phase(SB)
	MOVD	$held<>(SB), R1 // R0 is SIG_UNBLOCK
	MOVD	$0, R2
	MOVD	$8, R3
	MOVD	$135, R8 // rt_sigprocmask
	SVC
	RET

leaving:
	MOVD	R0, R10
	MOVD	$172, R8 // getpid
	SVC
	MOVD	R0, R11
	MOVWU	·leaver(SB), R12
	SEND(R10)
	RET

TEXT ·restorer(SB), NOSPLIT|NOFRAME, $0
	MOVD	$139, R8 // rt_sigreturn
	SVC
	BRK

TEXT ·addresses(SB), NOSPLIT, $0-16
	MOVD	$·handler(SB), R0
	MOVD	R0, handler+0(FP)
	MOVD	$·restorer(SB), R0
	MOVD	R0, restorer+8(FP)
	RET
