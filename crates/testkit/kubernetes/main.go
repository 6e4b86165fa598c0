// A Kubernetes API server with its etcd and a few controllers in one process, for tests.
// `cargo xtask tools` builds it.
//
// It says on one line of stdout where it listens, once it is ready. There is no scheduler and no
// kubelet: Pods are admitted and stored, and never run.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/embed"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

// How long the server may take to be ready.
const readyLimit = 2 * time.Minute

// Where it listens, as tests read it.
type where struct {
	// The API without TLS and already logged in as administrator.
	Port int `json:"port"`
	// For helm and kubectl: with TLS and a token.
	Kubeconfig string `json:"kubeconfig"`
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: kubernetes DIRECTORY")
	}
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(directory string) error {
	go endWithParent()
	ctx := genericapiserver.SetupSignalContext()
	store, err := startEtcd(filepath.Join(directory, "etcd"))
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	defer store.Close()
	token := rand.Text()
	server, err := configure(ctx, directory, store.Clients[0].Addr().String(), token)
	if err != nil {
		return fmt.Errorf("options: %w", err)
	}
	config := &rest.Config{
		Host:            "https://" + server.SecureServing.Listener.Addr().String(),
		BearerToken:     token,
		TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(directory, "apiserver.crt")},
		QPS:             -1,
	}
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx, *server) }()
	go func() {
		if err := serve(ctx, directory, config); err != nil {
			ended <- err
		}
	}()
	return <-ended
}

// A test that was killed leaves nothing behind.
func endWithParent() {
	parent := os.Getppid()
	for os.Getppid() == parent {
		time.Sleep(200 * time.Millisecond)
	}
	os.Exit(1)
}

func startEtcd(directory string) (*embed.Etcd, error) {
	config := embed.NewConfig()
	config.Dir = directory
	config.LogLevel = "error"
	// What a test stores is never read after it.
	config.UnsafeNoFsync = true
	// It would dial the advertised port, which is not the one that it got.
	config.EnableGRPCGateway = false
	free := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	config.ListenClientUrls, config.AdvertiseClientUrls = free, free
	config.ListenPeerUrls, config.AdvertisePeerUrls = free, free
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return nil, err
	}
	select {
	case <-etcd.Server.ReadyNotify():
		return etcd, nil
	case <-time.After(readyLimit):
		return nil, fmt.Errorf("not ready within %s", readyLimit)
	}
}

// The flags of a production server where they matter to what is admitted.
func configure(
	ctx context.Context, directory, etcd, token string,
) (*options.CompletedOptions, error) {
	key, tokens := filepath.Join(directory, "accounts.key"), filepath.Join(directory, "tokens")
	if err := writeKey(key); err != nil {
		return nil, err
	}
	if err := os.WriteFile(tokens, []byte(token+",admin,admin,system:masters\n"), 0o600); err != nil {
		return nil, err
	}
	it := options.NewServerRunOptions()
	flags := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	for _, set := range it.Flags().FlagSets {
		flags.AddFlagSet(set)
	}
	err := flags.Parse([]string{
		"--allow-privileged=true",
		"--authorization-mode=Node,RBAC",
		"--cert-dir=" + directory,
		// Loopback is no address for an endpoint, and no Pod asks for one.
		"--endpoint-reconciler-type=none",
		"--etcd-servers=http://" + etcd,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + key,
		"--service-account-signing-key-file=" + key,
		"--service-cluster-ip-range=10.96.0.0/16",
		"--token-auth-file=" + tokens,
	})
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := listener.Addr().(*net.TCPAddr)
	it.SecureServing.Listener, it.SecureServing.BindPort = listener, address.Port
	it.SecureServing.BindAddress, it.SecureServing.ExternalAddress = address.IP, address.IP
	if err := it.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return nil, err
	}
	completed, err := it.Complete(ctx)
	if err != nil {
		return nil, err
	}
	for _, wrong := range completed.Validate() {
		return nil, wrong
	}
	return &completed, nil
}

// Signs the tokens of service accounts.
func writeKey(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	pem, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem, 0o600)
}

// Waits for the server, starts what changes objects in it, and tells the test.
func serve(ctx context.Context, directory string, config *rest.Config) error {
	if err := waitUntilReady(ctx, config); err != nil {
		return err
	}
	if err := startControllers(ctx, config); err != nil {
		return fmt.Errorf("controllers: %w", err)
	}
	kubeconfig := filepath.Join(directory, "kubeconfig")
	if err := os.WriteFile(kubeconfig, kubeconfigOf(config), 0o600); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	line := where{Port: listener.Addr().(*net.TCPAddr).Port, Kubeconfig: kubeconfig}
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		return err
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		return err
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(request *httputil.ProxyRequest) { request.SetURL(target) },
		Transport: transport,
	}
	return http.Serve(listener, proxy)
}

func waitUntilReady(ctx context.Context, config *rest.Config) error {
	deadline, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	for {
		client, err := rest.HTTPClientFor(config) // The certificate may not be written yet.
		if err == nil {
			answer, err := client.Get(config.Host + "/readyz")
			if err == nil {
				answer.Body.Close()
				if answer.StatusCode == http.StatusOK {
					return nil
				}
			}
		}
		select {
		case <-deadline.Done():
			return fmt.Errorf("the API server is not ready within %s", readyLimit)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// JSON is YAML.
func kubeconfigOf(config *rest.Config) []byte {
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "test",
"clusters": [{"name": "test", "cluster": {"server": %q, "certificate-authority": %q}}],
"users": [{"name": "admin", "user": {"token": %q}}],
"contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}]}
`, config.Host, config.CAFile, config.BearerToken)
	return []byte(text)
}
