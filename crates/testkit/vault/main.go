// A Vault dev server with the few plugins that the tests of Plimsoll need.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	log "github.com/hashicorp/go-hclog"
	jwt "github.com/hashicorp/vault-plugin-auth-jwt"
	kube "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/credential/approle"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	logger := log.New(&log.LoggerOptions{Output: os.Stderr, Level: log.Warn})
	store, err := inmem.NewInmem(nil, logger)
	if err != nil {
		return err
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:        store,
		DisableMlock:    true,
		Logger:          logger,
		BuiltinRegistry: registry{},
		LogicalBackends: map[string]logical.Factory{
			"kv": kv.Factory,
		},
		CredentialBackends: map[string]logical.Factory{
			"approle": approle.Factory, "jwt": jwt.Factory, "kubernetes": kube.Factory,
		},
		DefaultLeaseTTL: time.Hour,
		MaxLeaseTTL:     24 * time.Hour,
	})
	if err != nil {
		return err
	}
	ctx := context.Background()
	init, err := core.Initialize(ctx, &vault.InitParams{
		BarrierConfig:  &vault.SealConfig{SecretShares: 1, SecretThreshold: 1},
		RecoveryConfig: nil,
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	handler := vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core, ListenerConfig: &configutil.Listener{}})
	go http.Serve(listener, handler)
	for _, key := range init.SecretShares {
		if _, err := core.Unseal(key); err != nil {
			return err
		}
	}
	out, _ := json.Marshal(map[string]string{
		"address": "http://" + listener.Addr().String(), "token": init.RootToken,
		"unseal": fmt.Sprintf("%x", init.SecretShares[0]),
	})
	fmt.Println(string(out))
	buf := make([]byte, 1)
	for {
		// Ends with whoever started it.
		if _, err := os.Stdin.Read(buf); err != nil {
			return nil
		}
	}
}

// registry says which plug-ins are part of the program.
type registry struct{}

var known = map[consts.PluginType][]string{
	consts.PluginTypeSecrets:    {"kv"},
	consts.PluginTypeCredential: {"approle", "jwt", "kubernetes"},
}

func (registry) Contains(name string, kind consts.PluginType) bool {
	return slices.Contains(known[kind], name)
}

func (r registry) Get(name string, kind consts.PluginType) (func() (interface{}, error), bool) {
	return func() (interface{}, error) { return nil, nil }, r.Contains(name, kind)
}

func (registry) Keys(kind consts.PluginType) []string { return known[kind] }

func (registry) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, true
}

func (registry) IsBuiltinEntPlugin(name string, kind consts.PluginType) bool { return false }
