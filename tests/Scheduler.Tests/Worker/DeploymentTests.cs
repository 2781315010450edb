using System.Globalization;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Configuration;
using Scheduler.Tests.Architecture;
using Scheduler.Worker.Configuration;

namespace Scheduler.Tests.Worker;

/// <summary>The files under deploy/ fit the worker: its options, its patience at a stop, and no more rights than it needs.</summary>
public sealed partial class DeploymentTests
{
    private static readonly TimeSpan Unwind = TimeSpan.FromSeconds(5);
    private static readonly string Unit = Read("scheduler@.service");
    private static readonly string Kubernetes = Read("kubernetes.yaml");

    [Fact]
    public void Every_setting_is_known_and_right()
    {
        var unit = Bind(UnitVariables());
        Assert.Equal("sqlite", unit.Scheduler.Locks.Backend);
        var pod = Bind(PodVariables());
        Assert.Equal(("redis", "postgres"), (pod.Scheduler.Locks.Backend, pod.Scheduler.State.Backend));
        Assert.NotNull(pod.Scheduler.Group);
        Assert.True(PodVariables().Count >= 8);
    }

    [Fact]
    public void A_mistyped_setting_would_be_found() =>
        Assert.Throws<SettingsException>(() => Bind(new(StringComparer.Ordinal) { ["Scheduler__Stop__Grase"] = "00:00:30" }));

    [Fact]
    public void The_system_waits_longer_than_a_stop_may_take()
    {
        Assert.True(Seconds(Unit, "TimeoutStopSec=(?<n>[0-9]+)") >= Needed(Bind(UnitVariables())));
        Assert.True(Seconds(Kubernetes, "terminationGracePeriodSeconds: (?<n>[0-9]+)") >= Needed(Bind(PodVariables())));
    }

    [Fact]
    public void The_probes_ask_the_health_address()
    {
        var options = Bind(PodVariables()).Scheduler.Operations;
        Assert.Null(Addresses.TryParse(options.HealthUrls, out var health));
        Assert.Contains($"containerPort: {health[0].Port}", Kubernetes, StringComparison.Ordinal);
        Assert.Equal(
            ["/health/live", "/health/live", "/health/ready"],
            Path().Matches(Kubernetes).Select(m => m.Groups["path"].Value).Order(StringComparer.Ordinal)
        );
        Assert.Null(Addresses.TryParse(options.Urls, out var operations));
        Assert.All(operations, o => Assert.True(System.Net.IPAddress.IsLoopback(o.Address)));
    }

    [Fact]
    public void Senders_reach_the_ingress_and_nothing_else()
    {
        var options = Bind(PodVariables()).Scheduler;
        Assert.Equal(["payments"], options.Webhooks.Sources.Keys);
        Assert.Null(Addresses.TryParse(options.Ingress.Urls, out var ingress));
        Assert.Null(Addresses.TryParse(options.Operations.HealthUrls, out var health));
        Assert.Equal(
            [("health", health[0].Port), ("webhooks", ingress[0].Port)],
            ContainerPort()
                .Matches(Kubernetes)
                .Select(m => (m.Groups["name"].Value, int.Parse(m.Groups["port"].Value, CultureInfo.InvariantCulture)))
                .OrderBy(p => p.Item1, StringComparer.Ordinal)
        );
        Assert.Contains("port: 80, targetPort: webhooks }", Kubernetes, StringComparison.Ordinal);
        Assert.Contains("ingress: [ { ports: [ { port: webhooks }, { port: health } ] } ]", Kubernetes, StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_secret_comes_from_the_secret_alone()
    {
        string[] secret = ["ConnectionString", "Secrets__0"];
        var names = PodVariables().Keys.Where(n => secret.Any(s => n.EndsWith(s, StringComparison.Ordinal))).ToList();

        Assert.Equal(4, names.Count);
        Assert.All(
            names,
            n => Assert.Matches($"- name: {n}\n +valueFrom: {{ secretKeyRef: {{ name: scheduler, key: [a-z]+ }} }}\n", Kubernetes)
        );
    }

    [Theory]
    [InlineData("runAsNonRoot: true")]
    [InlineData("readOnlyRootFilesystem: true")]
    [InlineData("allowPrivilegeEscalation: false")]
    [InlineData("drop: [ \"ALL\" ]")]
    [InlineData("seccompProfile: { type: RuntimeDefault }")]
    [InlineData("kind: PodDisruptionBudget")]
    public void The_pod_has_no_more_rights_than_it_needs(string line) => Assert.Contains(line, Kubernetes, StringComparison.Ordinal);

    [Fact]
    public void What_a_read_only_pod_writes_is_mounted()
    {
        var mounts = Mount().Matches(Kubernetes).Select(m => m.Groups["path"].Value).ToList();
        Assert.Contains("/tmp", mounts);
        // The defaults of the payments jobs and of locks are below data/ in the working directory.
        Assert.Contains("workingDir: /app", Kubernetes, StringComparison.Ordinal);
        Assert.Contains("/app/data", mounts);
    }

    [Theory]
    [InlineData("User=scheduler")]
    [InlineData("NoNewPrivileges=yes")]
    [InlineData("ProtectSystem=strict")]
    [InlineData("RestartPreventExitStatus=2")]
    [InlineData("Restart=on-failure")]
    [InlineData("KillSignal=SIGTERM")]
    public void The_unit_has_no_more_rights_than_it_needs(string line) => Assert.Contains(line, Unit.Split('\n'), StringComparer.Ordinal);

    private static double Needed(Settings settings) =>
        (settings.Scheduler.Stop.DrainDelay + settings.Scheduler.Stop.Grace + Unwind).TotalSeconds;

    private static int Seconds(string text, string pattern) =>
        int.Parse(
            Regex.Match(text, pattern, RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(1)).Groups["n"].Value,
            CultureInfo.InvariantCulture
        );

    private static Settings Bind(Dictionary<string, string?> variables) =>
        Settings.Read(
            new ConfigurationBuilder()
                .AddInMemoryCollection(
                    variables.Select(v => KeyValuePair.Create(v.Key.Replace("__", ":", StringComparison.Ordinal), v.Value))
                )
                .Build()
        );

    private static Dictionary<string, string?> UnitVariables() =>
        UnitVariable()
            .Matches(Unit)
            // %l-%i: host name and instance.
            .ToDictionary(
                m => m.Groups["name"].Value,
                m => (string?)m.Groups["value"].Value.Replace("%l-%i", "host-1", StringComparison.Ordinal)
            );

    private static Dictionary<string, string?> PodVariables()
    {
        var variables = PodVariable()
            .Matches(Kubernetes)
            .Select(m => m.Groups["name"].Value)
            .Where(n => n.Contains("__", StringComparison.Ordinal));
        var values = PodValue().Matches(Kubernetes).ToDictionary(m => m.Groups["name"].Value, m => m.Groups["value"].Value);
        // What comes from the cluster: a secret, or the pod's name.
        return variables.ToDictionary(
            n => n,
            n =>
                values.TryGetValue(n, out var value) ? value
                : n.EndsWith("Name", StringComparison.Ordinal) ? "pod-1"
                : n.StartsWith("Scheduler__State__", StringComparison.Ordinal) ? "Host=db;Database=shop;Username=scheduler"
                : n.EndsWith("Secrets__0", StringComparison.Ordinal) ? $"whsec_{Convert.ToBase64String(new byte[32])}"
                : (string?)"redis:6379"
        );
    }

    private static string Read(string file) => File.ReadAllText(System.IO.Path.Combine(Repository.Root, "deploy", file));

    [GeneratedRegex("^Environment=(?<name>[A-Za-z_0-9]+)=(?<value>.*)$", RegexOptions.Multiline | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex UnitVariable();

    [GeneratedRegex("^ +- (\\{ )?name: (?<name>[A-Za-z_0-9]+)", RegexOptions.Multiline | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex PodVariable();

    [GeneratedRegex("- \\{ name: (?<name>[A-Za-z_0-9]+), value: \"(?<value>[^\"]*)\" \\}", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex PodValue();

    [GeneratedRegex("name: (?<name>[a-z]+), containerPort: (?<port>[0-9]+)", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex ContainerPort();

    [GeneratedRegex("path: (?<path>/health/[a-z]+)", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Path();

    [GeneratedRegex("mountPath: (?<path>[^ ]+)", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Mount();
}
