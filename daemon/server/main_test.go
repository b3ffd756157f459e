package server_test

import (
	"testing"

	"tcpmux/daemon/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

func TestEveryModelKeepsThePromises(t *testing.T) { servertest.EveryModel(t, "Program") }
