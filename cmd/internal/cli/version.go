package cli

import "runtime/debug"

// version is set by the build: -ldflags "-X tcpmux/cmd/internal/cli.version=…".
var version string

// Version is the version of this program: the one that the build set, otherwise what Go knows about
// the module and its commit.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
