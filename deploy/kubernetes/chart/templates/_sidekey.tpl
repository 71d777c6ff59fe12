{{/* The sidecar. A chart that depends on this chart can include these templates too. */}}
{{- define "sidekey.container" -}}
name: sidekey
image: {{ .image | quote }}
restartPolicy: Always
env:
  {{- with .secrets }}
  - { name: SIDEKEY_SECRETS, value: {{ join " " . | quote }} }
  {{- end }}
  - { name: SIDEKEY_ALLOW, value: {{ join " " (.allow | default .secrets) | quote }} }
  {{- range $name, $value := .settings }}
  - { name: {{ $name }}, value: {{ $value | quote }} }
  {{- end }}
  - { name: SIDEKEY_METRICS_LISTEN, value: 0.0.0.0:9277 }
  - { name: XDG_RUNTIME_DIR, value: /run/sidekey }
ports:
  - { name: sidekey, containerPort: 9277 }
startupProbe:
  httpGet: { path: /ready, port: sidekey }
  periodSeconds: 1
  failureThreshold: 60
readinessProbe:
  httpGet: { path: /ready, port: sidekey }
livenessProbe:
  httpGet: { path: /ping, port: sidekey }
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
  seccompProfile: { type: RuntimeDefault }
resources: {{- toYaml .resources | nindent 2 }}
volumeMounts:
  - { name: sidekey, mountPath: /run/sidekey }
{{- end }}

{{/* The user of Sidekey and of the program. Both must have the same user, to share the token. */}}
{{- define "sidekey.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
{{- end }}

{{/* The variable with the path of the token, for the program. */}}
{{- define "sidekey.tokenVariable" -}}
{ name: SIDEKEY_TOKEN, value: file:///run/sidekey/sidekey/token-2773 }
{{- end }}

{{- define "sidekey.volumeMount" -}}
{ name: sidekey, mountPath: /run/sidekey, readOnly: true }
{{- end }}

{{- define "sidekey.volume" -}}
name: sidekey
emptyDir: { medium: Memory, sizeLimit: 1Mi }
{{- end }}

{{- define "sidekey.serviceAccount" -}}
{{ .Values.serviceAccount.name | default .Release.Name }}
{{- end }}
