package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/certs"
	"tcpmux/daemon/tlsconn"
)

// The user and the group of the packaged unit.
const (
	packagedUser  = "tcpmux"
	packagedGroup = "adm"
)

// CheckTLS reads the certificates that cfg names. It returns what keeps a listener from being
// served, and what is most likely a mistake. What this process may not read, which need not be the
// daemon's user's, is no fault.
func CheckTLS(cfg config.Config) (faults config.Faults, warnings []string) {
	seen := map[tlsFiles]bool{}
	for _, l := range cfg.Listeners {
		if !l.TLS.On() {
			continue
		}
		listener := fmt.Sprintf("listener %q: tls: ", l.Name)
		if reason := (&tlsSets{kernel: tlsconn.Probe()}).ends(l); reason != "" && kernelOf(l.TLS.Survive) == tlsconn.Require {
			warnings = append(warnings, listener+`survive is "require", and clients would end with the daemon: `+reason)
		}
		if nobodyAllowed(l) {
			warnings = append(warnings, fmt.Sprintf(`listener %q: every client is refused: limits.rules %q has "allow subject", and with tls.client_auth = "none" no client shows a certificate: want client_auth = "require" and client_ca, or other rules`,
				l.Name, l.Limits.Rules))
		}
		if seen[filesOf(l.TLS)] {
			continue
		}
		seen[filesOf(l.TLS)] = true
		wrong, problems := certs.Check(l.TLS, time.Now())
		for _, err := range wrong {
			if errors.Is(err, fs.ErrPermission) || errors.Is(err, certs.ErrNoCredential) {
				warnings = append(warnings, listener+"not checked: "+err.Error())
				continue
			}
			faults = append(faults, config.Fault{File: cmp.Or(l.Source, cfg.Path), Text: listener + err.Error()})
		}
		for _, p := range append(problems, unreadable(l.TLS)...) {
			warnings = append(warnings, listener+p)
		}
	}
	more, told := checkUpstreams(cfg)
	return append(faults, more...), append(warnings, told...)
}

// checkUpstreams is CheckTLS for what proxies show to upstreams, and check them with.
func checkUpstreams(cfg config.Config) (faults config.Faults, warnings []string) {
	for _, l := range cfg.Listeners {
		if !l.Proxies() || !l.Proxy.TLS {
			continue
		}
		listener := fmt.Sprintf("listener %q: proxy: ", l.Name)
		wrong, problems := certs.CheckForClient(l.Proxy, time.Now())
		for _, err := range wrong {
			if errors.Is(err, fs.ErrPermission) || errors.Is(err, certs.ErrNoCredential) {
				warnings = append(warnings, listener+"not checked: "+err.Error())
				continue
			}
			faults = append(faults, config.Fault{File: cmp.Or(l.Source, cfg.Path), Text: listener + err.Error()})
		}
		for _, p := range problems {
			warnings = append(warnings, listener+p)
		}
	}
	return faults, warnings
}

// nobodyAllowed reports whether the rules of a listener want a certificate, for which it does not
// ask. A file of rules that cannot be read is no concern here.
func nobodyAllowed(l config.Listener) bool {
	if l.TLS.ClientAuth != "none" || l.Limits.Rules == "" {
		return false
	}
	rules, err := config.LoadRules(l.Limits.Rules)
	return err == nil && len(rules.AllowSubjects) > 0 && !slices.ContainsFunc(rules.AllowSubjects, matchesNothing)
}

// matchesNothing reports whether a pattern stands for the empty subject too, which is that of a
// client without a certificate.
func matchesNothing(pattern string) bool { return strings.Trim(pattern, "*") == "" }

// unreadable returns a line for each file that root, who asks, can read, and the user of the
// packaged unit cannot, by their modes.
func unreadable(t config.TLS) (lines []string) {
	if os.Geteuid() != 0 || os.Getenv("CREDENTIALS_DIRECTORY") != "" {
		return nil
	}
	r, ok := packagedReader()
	if !ok {
		return nil
	}
	for _, path := range certs.Files(t) {
		if obstacle := r.obstacle(path); obstacle != "" {
			lines = append(lines, fmt.Sprintf("file %q cannot be read by user %s, because of the mode of %q: let that user read it (chown %s, chmod 0400) and enter its directories, or have systemd read it: LoadCredential=NAME:%s in the unit, and NAME here",
				path, packagedUser, obstacle, packagedUser, path))
		}
	}
	return lines
}

// reader is who reads files.
type reader struct {
	uid  uint32
	gids []uint32
}

// packagedReader returns the user of the packaged unit, if there is one.
func packagedReader() (r reader, ok bool) {
	u, err := user.Lookup(packagedUser)
	if err != nil {
		return r, false
	}
	ids, _ := u.GroupIds() // none is as good
	if g, err := user.LookupGroup(packagedGroup); err == nil {
		ids = append(ids, g.Gid)
	}
	number := func(id string) uint32 {
		n, _ := strconv.ParseUint(id, 10, 32) // the kernel's are numbers
		return uint32(n)
	}
	r.uid = number(u.Uid)
	for _, id := range ids {
		r.gids = append(r.gids, number(id))
	}
	return r, true
}

// obstacle returns what keeps the reader from a file: its mode, or that of a directory above it; ""
// if nothing is known. A file with an access control list is left alone.
func (r reader) obstacle(path string) string {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	for at, want := path, fs.FileMode(4); ; at, want = filepath.Dir(at), 1 {
		info, err := os.Stat(at)
		if err != nil {
			return ""
		}
		if size, err := syscall.Getxattr(at, "system.posix_acl_access", nil); err == nil && size > 0 {
			return ""
		}
		if !r.may(info, want) {
			return at
		}
		if at == filepath.Dir(at) {
			return ""
		}
	}
}

// may reports whether the mode of a file lets the reader do want: 4 is to read, 1 to enter.
func (r reader) may(info fs.FileInfo, want fs.FileMode) bool {
	st := info.Sys().(*syscall.Stat_t)
	mode := info.Mode().Perm()
	switch {
	case st.Uid == r.uid:
		mode >>= 6
	case slices.Contains(r.gids, st.Gid):
		mode >>= 3
	}
	return mode&want != 0
}
