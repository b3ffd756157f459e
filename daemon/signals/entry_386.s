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

// rt_sigaction(2). A system call keeps all registers but AX.
#define SET(signal, action) \
	MOVL	$signal, BX \
	LEAL	action, CX \
	XORL	DX, DX \
	MOVL	$8, SI \
	MOVL	$174, AX \
	INT	$0x80
#define ASK(signal) \
	MOVL	$signal, BX \
	XORL	CX, CX \
	LEAL	before<>(SB), DX \
	MOVL	$8, SI \
	MOVL	$174, AX \
	INT	$0x80 \
	CMPL	before<>(SB), $1

// tgkill(2), with the process in BP and the thread in DI.
#define SEND(signal) \
	MOVL	BP, BX \
	MOVL	DI, CX \
	MOVL	signal, DX \
	MOVL	$270, AX \
	INT	$0x80

TEXT ·entry(SB), NOSPLIT|NOFRAME, $0
	MOVL	SP, arguments<>(SB)
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
	JMP	_rt0_386_linux(SB)

TEXT ·handler(SB), NOSPLIT|NOFRAME, $0
	CMPL	·phase(SB), $1
	JEQ	done
	JHI	leaving
	MOVL	4(SP), AX // the signal
	BTSL	AX, ·noted(SB)
	LEAL	·restorer(SB), AX
	CMPL	AX, 0(SP)
	JNE	again
done:
	RET

again: // the runtime has called us, and would end the process
	XORL	BX, BX // SIG_BLOCK
	LEAL	held<>(SB), CX
	XORL	DX, DX
	MOVL	$8, SI
	MOVL	$175, AX // rt_sigprocmask
	INT	$0x80
	MOVL	$20, AX // getpid
	INT	$0x80
	MOVL	AX, BP
	MOVL	$224, AX // gettid
	INT	$0x80
	MOVL	AX, DI
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
	LEAL	program<>(SB), BX
	MOVL	arguments<>(SB), CX
	MOVL	0(CX), AX // argc
	ADDL	$4, CX // argv
	LEAL	4(CX)(AX*4), DX // envp
	MOVL	$11, AX // execve
	INT	$0x80
	MOVL	$1, ·phase(SB) // it has failed: the signal has its way
	MOVL	$1, BX // SIG_UNBLOCK
	LEAL	held<>(SB), CX
	XORL	DX, DX
	MOVL	$8, SI
	MOVL	$175, AX // rt_sigprocmask
	INT	$0x80
	RET

leaving:
	MOVL	$20, AX // getpid
	INT	$0x80
	MOVL	AX, BP
	MOVL	·leaver(SB), DI
	MOVL	4(SP), SI // the signal
	SEND(SI)
	RET

TEXT ·restorer(SB), NOSPLIT|NOFRAME, $0
	MOVL	$173, AX // rt_sigreturn
	INT	$0x80
	INT	$3

TEXT ·addresses(SB), NOSPLIT, $0-8
	LEAL	·handler(SB), AX
	MOVL	AX, handler+0(FP)
	LEAL	·restorer(SB), AX
	MOVL	AX, restorer+4(FP)
	RET
