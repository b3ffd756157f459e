package listen

import (
	"log/slog"
	"os"
	"slices"
	"strings"

	"tcpmux/config"
)

// userMap is where the kernel says which users a process knows (user_namespaces(7)).
const userMap = "/proc/self/uid_map"

// WarnUnknownUsers logs one line if there are unix sockets, and the daemon is in a user namespace
// that does not have all users: clients then look as if they were of the user nobody.
func WarnUnknownUsers(cfg []config.Listener, log *slog.Logger) {
	if slices.ContainsFunc(cfg, func(l config.Listener) bool { return l.Unix() }) && !knowsUsers(userMap) {
		log.Warn("clients of unix sockets look as if they were of the user nobody: " +
			"the daemon does not know all users; under systemd, set PrivateUsers=no in tcpmux.service")
	}
}

// knowsUsers reports whether all users are in the map at path, or there is no map.
func knowsUsers(path string) bool {
	text, err := os.ReadFile(path)
	return err != nil || slices.Equal(strings.Fields(string(text)), []string{"0", "0", "4294967295"})
}
