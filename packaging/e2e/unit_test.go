//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"
)

func TestUnitsVerify(t *testing.T) {
	r := installed(t)
	units := strings.Fields(r.run("sh", "-c", "ls /usr/lib/systemd/system/tcpmux*"))
	// The rig has no man(1), so the manual pages that the units name are missing.
	if out, err := r.try(append([]string{"systemd-analyze", "verify", "--man=no"}, units...)...); err != nil || out != "" {
		t.Errorf("systemd-analyze verify: got %v %q, want silence", err, out)
	}
}

func TestExposure(t *testing.T) {
	r := installed(t)
	if out, err := r.try("systemd-analyze", "security", "--no-pager", "--threshold=12", "tcpmux.service"); err != nil {
		t.Errorf("systemd-analyze security: got %v, want at most 1.2\n%s", err, out)
	}
}

// The process has what the unit asks for: systemd may silently ignore a directive that it cannot
// apply.
func TestDaemonIsConfined(t *testing.T) {
	r := serving(t)
	r.mustVisit()
	pid := r.mainPID()
	status := r.run("cat", "/proc/"+pid+"/status")
	for _, want := range []string{"CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
		if !strings.Contains(status, want) {
			t.Errorf("the daemon's status: got no %q in\n%s", want, status)
		}
	}
	for _, kind := range []string{"net", "mnt", "ipc", "uts", "user"} {
		ours, its := r.run("readlink", "/proc/1/ns/"+kind), r.run("readlink", "/proc/"+pid+"/ns/"+kind)
		if ours == its {
			t.Errorf("%s namespace: got %q, want one of the daemon's own", kind, its)
		}
	}
	for _, dir := range []string{"/", "/etc", "/usr", "/var/log", "/proc/sys", "/home"} {
		if out, err := r.try("nsenter", "-t", pid, "-m", "touch", dir+"/e2e"); err == nil {
			t.Errorf("write below %s: got success %q, want none", dir, out)
		}
	}
}

// TestKernelTLSIsLoaded holds that the service has the module loaded, and starts where that is not
// allowed: a rig may load none.
func TestKernelTLSIsLoaded(t *testing.T) {
	r := serving(t)
	r.mustVisit()
	said := strings.Fields(r.run("systemctl", "show", "--property=LoadState,ConditionResult,ConditionTimestampMonotonic", "modprobe@tls.service"))
	slices.Sort(said)
	if len(said) != 3 || said[0] != "ConditionResult=no" || said[1] == "ConditionTimestampMonotonic=0" || said[2] != "LoadState=loaded" {
		t.Errorf("modprobe@tls.service: got %q, want that it was asked for, and may not", said)
	}
}
