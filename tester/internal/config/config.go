// SPDX-License-Identifier: MIT

// Package config reads of a shunt config what the tester needs to know. It is no judge of the rest,
// and reads neither port ranges nor weights.
package config

import (
	"encoding/json"
	"fmt"
	"os"
)

// App is an app of the config.
type App struct {
	Name    string
	Ports   []int
	Targets []string
}

// Load reads the apps of a config file.
func Load(path string) ([]App, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct{ Apps []App }
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return file.Apps, nil
}
