package servertest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/program"
	"tcpmux/daemon/worker"
)

// modelVariable names the model of the first listener of Config; unset: the default one.
const modelVariable = "TCPMUX_TEST_MODEL"

// Model returns the model that tests run with; "" is the default one.
func Model() string { return os.Getenv(modelVariable) }

// Main runs a package's tests. The test binary is also the session's process and what becomes a
// program, as a server in a test starts its own executable for those.
func Main(m *testing.M) {
	switch os.Args[0] {
	case worker.ProcessName:
		os.Exit(worker.Main(os.Args))
	case program.ExecName:
		os.Exit(program.Exec(os.Args))
	}
	if path := os.Getenv(userVariable); path != "" {
		os.Exit(connectUser(path))
	}
	os.Exit(m.Run())
}

// EveryModel runs the package's tests once more for each model but the default one, without the
// calling test and those that the pattern skip matches; "" skips no others. Where there are tests
// outside of the package (package x_test), it is those: the others have no server.
func EveryModel(t *testing.T, skip string) {
	t.Helper()
	not := "^" + t.Name() + "$"
	if skip != "" {
		not += "|" + skip
	}
	outside := testsOutside(t)
	for _, model := range []string{"thread", "process"} {
		t.Run(model, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.skip="+not, "-test.run="+outside, "-test.timeout=25m")
			cmd.Env = append(os.Environ(), modelVariable+"="+model)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// testsOutside returns a pattern for the tests that are outside of the package in whose directory
// they run; "" is all, as there are no such tests.
func testsOutside(t *testing.T) (pattern string) {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(file.Name.Name, "_test") {
			continue
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				names = append(names, f.Name.Name)
			}
		}
	}
	if names == nil {
		return ""
	}
	return "^(" + strings.Join(names, "|") + ")$"
}

// ByProcess has the clients of the first listener served by processes.
func ByProcess(c *config.Config) { c.Listeners[0].Model = "process" }
