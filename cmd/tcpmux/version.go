package main

import "runtime/debug"

// version is set by the build: -ldflags "-X main.version=…".
var version string

// versionText is the version of this program: the build's, else what Go knows about the module and its commit.
func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
