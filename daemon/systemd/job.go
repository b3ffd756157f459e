package systemd

import (
	"context"
	"os"
	"os/exec"
	"path"
	"strings"
)

// StopAsked reports whether the service manager is stopping our unit and will not start it again.
// It is also false if that is unknown, because there is no service manager, systemctl or D-Bus.
func StopAsked(ctx context.Context) bool {
	if !Notified() {
		return false
	}
	cgroups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return false
	}
	unit := unitIn(string(cgroups))
	if unit == "" {
		return false
	}
	jobs, err := exec.CommandContext(ctx, "systemctl", "list-jobs", "--plain", "--no-legend", unit).Output()
	return err == nil && stops(string(jobs), unit)
}

// unitIn returns the service unit in the text of /proc/self/cgroup (cgroups(7)), or "".
func unitIn(cgroups string) string {
	for line := range strings.Lines(cgroups) {
		_, dir, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "::")
		for ; ok && len(dir) > 1; dir = path.Dir(dir) {
			if strings.HasSuffix(dir, ".service") {
				return path.Base(dir)
			}
		}
	}
	return ""
}

// stops reports whether the output of "systemctl list-jobs" has a stop of the unit. Each line is a
// number, a unit, a type and a state.
func stops(jobs, unit string) bool {
	for line := range strings.Lines(jobs) {
		if f := strings.Fields(line); len(f) >= 3 && f[1] == unit && f[2] == "stop" {
			return true
		}
	}
	return false
}
