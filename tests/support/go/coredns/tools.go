//go:build tools

// Package main names the program that the test fixtures build, so that `go mod tidy` keeps its requirements.
package main

import _ "github.com/coredns/coredns"
