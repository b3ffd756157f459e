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

// rt_sigaction(2). A system call keeps all registers but AX, CX and R11.
#define SET(signal, action) \
	MOVL	$signal, DI \
	LEAQ	action, SI \
	XORL	DX, DX \
	MOVL	$8, R10 \
	MOVL	$13, AX \
	SYSCALL
#define ASK(signal) \
	MOVL	$signal, DI \
	XORL	SI, SI \
	LEAQ	before<>(SB), DX \
	MOVL	$8, R10 \
	MOVL	$13, AX \
	SYSCALL \
	CMPQ	before<>(SB), $1

// tgkill(2), with the process in R8 and the thread in R9.
#define SEND(signal) \
	MOVQ	R8, DI \
	MOVQ	R9, SI \
	MOVL	signal, DX \
	MOVL	$234, AX \
	SYSCALL

TEXT ·entry(SB), NOSPLIT|NOFRAME, $0
	MOVQ	SP, arguments<>(SB)
	SET(15, noting<>(SB)) // SIGTERM
	ASK(2) // SIGINT
	JEQ	hup
	SET(2, noting<>(SB))
hup:
	ASK(1) // SIGHUP
	JEQ	usr
	SET(1, noting<>(SB))
usr:
	SET(10, ignoring<>(SB)) // SIGUSR1
	SET(12, ignoring<>(SB)) // SIGUSR2
	JMP	_rt0_amd64_linux(SB)

TEXT ·handler(SB), NOSPLIT|NOFRAME, $0
	CMPL	·phase(SB), $1
	JEQ	done
	JHI	leaving
	BTSL	DI, ·noted(SB)
	LEAQ	·restorer(SB), AX
	CMPQ	AX, 0(SP)
	JNE	again
done:
	RET

again: // the runtime has called us, and would end the process
	XORL	DI, DI // SIG_BLOCK
	LEAQ	held<>(SB), SI
	XORL	DX, DX
	MOVL	$8, R10
	MOVL	$14, AX // rt_sigprocmask
	SYSCALL
	MOVL	$39, AX // getpid
	SYSCALL
	MOVQ	AX, R8
	MOVL	$186, AX // gettid
	SYSCALL
	MOVQ	AX, R9
	BTL	$2, ·noted(SB)
	JCC	term
	SEND($2)
term:
	BTL	$15, ·noted(SB)
	JCC	hup
	SEND($15)
hup:
	BTL	$1, ·noted(SB)
	JCC	exec
	SET(1, ignoring<>(SB))
exec:
	LEAQ	program<>(SB), DI
	MOVQ	arguments<>(SB), SI
	MOVQ	0(SI), AX // argc
	ADDQ	$8, SI // argv
	LEAQ	8(SI)(AX*8), DX // envp
	MOVL	$59, AX // execve
	SYSCALL
	MOVL	$1, ·phase(SB) // it has failed: the signal has its way
	MOVL	$1, DI // SIG_UNBLOCK
	LEAQ	held<>(SB), SI
	XORL	DX, DX
	MOVL	$14, AX // rt_sigprocmask
	SYSCALL
	RET

leaving:
	MOVL	DI, R10
	MOVL	$39, AX // getpid
	SYSCALL
	MOVQ	AX, R8
	MOVL	·leaver(SB), R9
	SEND(R10)
	RET

TEXT ·restorer(SB), NOSPLIT|NOFRAME, $0
	MOVL	$15, AX // rt_sigreturn
	SYSCALL
	INT	$3

TEXT ·addresses(SB), NOSPLIT, $0-16
	LEAQ	·handler(SB), AX
	MOVQ	AX, handler+0(FP)
	LEAQ	·restorer(SB), AX
	MOVQ	AX, restorer+8(FP)
	RET
