{{/* Pods of services: the same for Deployments, Rollouts, CronJobs, Jobs and migrations. */}}

{{/* A service's environment. Settings of the chart yield to what the service says itself. */}}
{{- define "plimsoll.env" -}}
{{- $ours := dict "PLIMSOLL_RELEASE" (include "plimsoll.tag" .root) -}}
{{- if or .service.secrets .service.secretsFrom -}}
{{- $mount := dict "type" "dir" "path" .root.Values.secrets.mountPath -}}
{{- $settings := dict "default" "mount" "providers" (dict "mount" $mount) -}}
{{- $_ := set $ours "PLIMSOLL_SECRETS" ($settings | mustToJson) -}}
{{- end -}}
{{- with .root.Values.telemetry.otlpEndpoint -}}
{{- $_ := set $ours "OTEL_EXPORTER_OTLP_ENDPOINT" . -}}
{{- end -}}
{{- range $name, $value := merge dict (.service.env | default dict) $ours }}
{{- if not (kindIs "invalid" $value) }}
{{ $name }}: {{ kindIs "string" $value | ternary $value ($value | toJson) | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "plimsoll.podSecurity" -}}
runAsNonRoot: {{ ne (int .user) 0 }}
runAsUser: {{ .user }}
runAsGroup: {{ .user }}
fsGroup: {{ .user }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "plimsoll.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: {{ .readOnlyRootFilesystem }}
capabilities:
  drop:
    - ALL
  {{- with .capabilities }}
  add:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "plimsoll.resources" -}}
requests:
  cpu: {{ .requests.cpu | quote }}
  memory: {{ .requests.memory | quote }}
limits:
  cpu: {{ .limits.cpu | quote }}
  memory: {{ .limits.memory | quote }}
  {{- with .gpu }}
  nvidia.com/gpu: {{ .count }}
  {{- end }}
{{- end }}

{{/* Kubernetes expands `$(NAME)` in arguments; the words of a command are not meant that way. */}}
{{- define "plimsoll.args" -}}
{{- range . }}
- {{ . | toString | replace "$(" "$$(" | quote }}
{{- end }}
{{- end }}

{{- define "plimsoll.mounts" -}}
{{- range $index, $path := .service.writable }}
- name: writable-{{ $index }}
  mountPath: {{ $path }}
{{- end }}
{{- if or .service.secrets .service.secretsFrom }}
- name: secrets
  mountPath: {{ .root.Values.secrets.mountPath }}
  readOnly: true
{{- end }}
{{- range $volume, $path := .service.volumes }}
- name: data-{{ include "plimsoll.dns" $volume }}
  mountPath: {{ $path }}
{{- end }}
{{- end }}

{{- define "plimsoll.volumes" -}}
{{- $memory := .root.Values.writable.sizeLimit }}
{{- range $index, $path := .service.writable }}
- name: writable-{{ $index }}
  emptyDir:
    medium: Memory
    sizeLimit: {{ $memory }}
{{- end }}
{{- if or .service.secrets .service.secretsFrom }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- with .service.secrets }}
      - secret:
          name: {{ $.secret }}
          items:
            {{- range . }}
            - key: {{ . }}
              path: {{ . }}
            {{- end }}
      {{- end }}
      {{- range $key, $from := .service.secretsFrom }}
      - secret:
          name: {{ $from.name }}
          items:
            - key: {{ $from.key }}
              path: {{ $key }}
      {{- end }}
{{- end }}
{{- range $volume, $path := .service.volumes }}
- name: data-{{ include "plimsoll.dns" $volume }}
  persistentVolumeClaim:
    claimName: {{ include "plimsoll.dns" $volume }}
{{- end }}
{{- end }}

{{/*
The pod. Besides root, name and service: `component` (web, worker, migration …), `account`, `config`
and `secret` (names of what it reads), `grace`, and `args`, `restart` and `probes` where they differ.
*/}}
{{- define "plimsoll.pod" -}}
metadata:
  labels:
    {{- include "plimsoll.labels" . | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
    {{- with .service.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: {{ include "plimsoll.dns" .name }}
    # A change of the environment is a new release of the pods.
    plimsoll.dev/config: {{ include "plimsoll.env" . | sha256sum | trunc 16 | quote }}
    {{- if .root.Values.monitoring.annotations }}
    prometheus.io/scrape: "true"
    prometheus.io/port: {{ .root.Values.admin.port | quote }}
    prometheus.io/path: {{ .root.Values.admin.metrics }}
    {{- end }}
    {{- with .service.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ .account }}
  automountServiceAccountToken: {{ .token | default false }}
  # Variables for every Service of the namespace would shadow the application's own.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .grace }}
  {{- with .restart }}
  restartPolicy: {{ . }}
  {{- end }}
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    {{- include "plimsoll.podSecurity" .service.security | nindent 4 }}
  {{- if and .spread .root.Values.topologySpread.enabled }}
  topologySpreadConstraints:
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: {{ $.root.Values.topologySpread.whenUnsatisfiable }}
      labelSelector:
        matchLabels:
          {{- include "plimsoll.selector" $ | nindent 10 }}
          app.kubernetes.io/component: {{ $.component }}
      # Counts the pods of each release on their own.
      matchLabelKeys:
        - {{ if include "plimsoll.isRollout" $ }}rollouts-pod-template-hash{{ else }}pod-template-hash{{ end }}
    {{- end }}
  {{- end }}
  {{- with .service.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if or .service.tolerations .service.gpu }}
  tolerations:
    {{- with .service.tolerations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- if .service.gpu }}
    - key: nvidia.com/gpu
      operator: Exists
      effect: NoSchedule
    {{- end }}
  {{- end }}
  containers:
    - name: {{ include "plimsoll.dns" .name }}
      image: {{ include "plimsoll.image" . }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      {{- with .args }}
      args:
        {{- include "plimsoll.args" . | trim | nindent 8 }}
      {{- end }}
      ports:
        {{- if and .probes .service.port }}
        - name: http
          containerPort: {{ .service.port }}
          protocol: TCP
        {{- end }}
        - name: admin
          containerPort: {{ .root.Values.admin.port }}
          protocol: TCP
      envFrom:
        - configMapRef:
            name: {{ .config }}
      {{- if .probes }}
      startupProbe:
        httpGet:
          path: {{ .root.Values.admin.started }}
          port: admin
        periodSeconds: {{ .probes.startup.periodSeconds }}
        timeoutSeconds: {{ .probes.startup.timeoutSeconds }}
        failureThreshold: {{ .probes.startup.failureThreshold }}
      livenessProbe:
        httpGet:
          path: {{ .root.Values.admin.live }}
          port: admin
        periodSeconds: {{ .probes.liveness.periodSeconds }}
        timeoutSeconds: {{ .probes.liveness.timeoutSeconds }}
        failureThreshold: {{ .probes.liveness.failureThreshold }}
      readinessProbe:
        httpGet:
          path: {{ .root.Values.admin.ready }}
          port: admin
        periodSeconds: {{ .probes.readiness.periodSeconds }}
        timeoutSeconds: {{ .probes.readiness.timeoutSeconds }}
        failureThreshold: {{ .probes.readiness.failureThreshold }}
      {{- end }}
      resources:
        {{- include "plimsoll.resources" .service.resources | nindent 8 }}
      securityContext:
        {{- include "plimsoll.containerSecurity" .service.security | nindent 8 }}
      {{- with include "plimsoll.mounts" . | trim }}
      volumeMounts:
        {{- . | nindent 8 }}
      {{- end }}
  {{- with include "plimsoll.volumes" . | trim }}
  volumes:
    {{- . | nindent 4 }}
  {{- end }}
{{- end }}
