package generator

import (
	"fmt"
	"regexp"
	"slices"
	"sync"

	"tcpmux/config"
)

// unixForm is what the path of a unix socket may be: no character of it means anything to systemd.
var unixForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^/[a-zA-Z0-9/._:@,+=~-]+$`) })

// groupForm is what a group may be called.
var groupForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_.-]*\$?$`) })

// addUnix adds the unix socket at path to the port.
func (p *port) addUnix(owner, path string, l config.Listener) error {
	switch {
	case !unixForm().MatchString(path):
		return fmt.Errorf("%s: address %q: want a path of letters, digits and /._:@,+=~-: systemd can be told no other", owner, config.UnixScheme+path)
	case l.Group != "" && !groupForm().MatchString(l.Group):
		return fmt.Errorf("%s: group %q: want the name of a group", owner, l.Group)
	}
	p.streams = append(p.streams, path)
	p.unix = fmt.Sprintf("# Who may connect to the unix socket.\nSocketMode=%04o\n", l.Mode)
	if l.Group != "" {
		p.unix += fmt.Sprintf("SocketGroup=%s\n", l.Group)
	}
	// Who connects later is told at once that nobody is there.
	p.unix += "RemoveOnStop=yes\n"
	return nil
}

// users returns the settings of the service that let it know the users of unix sockets; "" if there
// are no such sockets. With users of its own, all but root and tcpmux would look like nobody.
func users(cfg config.Config) string {
	if !slices.ContainsFunc(cfg.Listeners, func(l config.Listener) bool { return l.Unix() }) {
		return ""
	}
	return "# For listeners with a unix socket, which know their clients by uid and gid.\nPrivateUsers=no\n"
}
