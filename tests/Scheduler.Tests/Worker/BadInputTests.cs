using System.Diagnostics;
using Microsoft.Extensions.Configuration;
using Scheduler.Worker.CommandLine;
using Scheduler.Worker.Configuration;

namespace Scheduler.Tests.Worker;

/// <summary>What is wrong in the configuration is told all together, with place and value, before anything runs.</summary>
public sealed class BadInputTests
{
    private const string Canary = "canary-7f3a";

    [Theory]
    [InlineData("Scheduler:Locks:Backend", "reddis", "'reddis'; allowed is memory, sqlite, redis, redlock, postgres, postgres-session")]
    [InlineData("Scheduler:State:Backend", "oracle", "'oracle'; allowed is sqlite, postgres, none")]
    [InlineData("Scheduler:Locks:LeaseDuration", "00:00:00.5", "00:00:00.5")]
    [InlineData("Scheduler:Locks:LeaseDuration", "10", "'10'; a time such as")]
    [InlineData("Scheduler:Locks:RenewalInterval", "00:00:09", "00:00:10, too short for RenewalInterval = 00:00:09")]
    [InlineData("Scheduler:Lokcs:Backend", "redis", "Scheduler:Lokcs is not a known key; known here: Locks")]
    [InlineData("Scheduler:Stop:Grace", "02:00:00", "allowed is 00:00:00 to 01:00:00")]
    [InlineData("Scheduler:Stop:Grace", "-00:00:01", "allowed is 00:00:00 to 01:00:00")]
    [InlineData("Scheduler:Operations:Urls", "http://0.0.0.0:9090", "only loopback")]
    [InlineData("Scheduler:Operations:Urls", "http://127.0.0.1:99999", "http://address:port is expected")]
    [InlineData("Scheduler:Operations:Urls", "http://[::]:9090", "only loopback")]
    [InlineData("Scheduler:Operations:Urls", "http://*:0", "only loopback")]
    [InlineData("Scheduler:Operations:Urls", "http://127.0.0.1:1;http://10.1.2.3:2", "at 10.1.2.3:2")]
    [InlineData("Scheduler:Operations:HealthUrls", "https://127.0.0.1:1", "http://address:port")]
    [InlineData("Scheduler:Operations:HealthUrls", "http://*:9090", "give it a port of its own")]
    [InlineData("Scheduler:State:Schema", "Public; --", "'Public; --'; allowed is 1 to 63 of lower-case letters")]
    [InlineData("Scheduler:State:Backend", "postgres", "ConnectionString (not shown here) is no connection string of Npgsql")]
    [InlineData("Scheduler:State:Backend", "postgres", "Scheduler:Group is missing; with Scheduler:State:Backend 'postgres'")]
    [InlineData("Scheduler:Locks:Schema", "Public; --", "'Public; --'; allowed is 1 to 63 of lower-case letters")]
    [InlineData("Scheduler:Locks:Backend", "postgres", "Locks:ConnectionString (not shown here) is no connection string of Npgsql")]
    [InlineData("Scheduler:Locks:Backend", "postgres", "Scheduler:Group is missing; with Scheduler:Locks:Backend 'postgres'")]
    [InlineData("Scheduler:Locks:Backend", "postgres-session", "Locks:ConnectionString (not shown here) is no connection string of Npgsql")]
    [InlineData("Scheduler:Locks:ListenConnectionString", "Host=a", "Locks:Backend 'sqlite' has nothing to listen to")]
    [InlineData("Scheduler:Replica:Name", "a b", "'a b'")]
    [InlineData("Scheduler:JobAssemblies:0", "No.Such", "'No.Such', which cannot be loaded")]
    [InlineData("Scheduler:Jobs:SettlePayout:Every", "00:00:05", "'SettlePayout', which does not exist; near: SettlePayouts")]
    [InlineData("Scheduler:Jobs:SettlePayouts:Cron", "every day", "every day")]
    [InlineData("Scheduler:Jobs:SettlePayouts:Every", "00:00:00.5", "00:00:00.5")]
    [InlineData("Scheduler:Jobs:SettlePayouts:Every", "00:00:01.0000001", "00:00:01.0000001")]
    [InlineData("Scheduler:Jobs:SettlePayouts:Type", "SettlePayouts", "no schedule")]
    [InlineData("Scheduler:Jobs:SettlePayouts:Triggers:0:Name", "a", "neither Cron nor Every")]
    [InlineData("Scheduler:Jobs:SettlePayouts:TimeZone", "Mars/Base", "belong into a trigger")]
    [InlineData("Scheduler:Jobs:SettlePayouts:Lease", "00:00:00.9", "00:00:00.9")]
    [InlineData("Scheduler:Jobs:SettlePayouts:Lease", "00:00:31", "00:00:31")]
    [InlineData("Scheduler:Webhooks:KeepBodies", "00:59:59", "00:59:59; allowed is 01:00:00 to 36500.00:00:00.")]
    [InlineData("Scheduler:Webhooks:KeepKeys", "399.00:00:00", "allowed is 400.00:00:00 to 36500.00:00:00, or 00:00:00 for ever.")]
    [InlineData("Logs:MaxFiles", "0", "allowed is 1 to 1000")]
    [InlineData("Payments:BatchSize", "0", "allowed is 1 to 10000")]
    public void Names_key_value_and_what_is_allowed(string key, string value, string expected)
    {
        var error = Assert.Throws<SettingsException>(() => Read((key, value)));
        Assert.Contains(error.Errors, e => e.Contains(expected, StringComparison.Ordinal));
        Assert.Contains(error.Errors, e => e.StartsWith(key[..key.IndexOf(':', StringComparison.Ordinal)], StringComparison.Ordinal));
    }

    [Fact]
    public void Endpoints_of_redlock_are_checked_all_together_without_their_secrets()
    {
        var error = Assert.Throws<SettingsException>(() =>
            Read(
                ("Scheduler:Group", "g"),
                ("Scheduler:Locks:Backend", "redlock"),
                ("Scheduler:Locks:Endpoints:0", $"a:1,password={Canary}"),
                ("Scheduler:Locks:Endpoints:1", $"a:1,password={Canary}")
            )
        );
        Assert.Contains(error.Errors, e => e.StartsWith("Scheduler:Locks:Endpoints: 2 endpoints are named", StringComparison.Ordinal));
        Assert.Contains(
            error.Errors,
            e => e.StartsWith("Scheduler:Locks:Endpoints: Endpoints 0 and 1 are both a:1", StringComparison.Ordinal)
        );
        Assert.DoesNotContain(Canary, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_way_to_listen_is_for_postgres_alone_and_its_absence_is_told_where_events_come()
    {
        const string Key = "Scheduler:State:ListenConnectionString";
        var error = Assert.Throws<SettingsException>(() => Read((Key, $"Host=a;Password={Canary}")));
        Assert.Contains(error.Errors, e => e.Contains("Backend 'sqlite' has nothing to listen to", StringComparison.Ordinal));
        Assert.DoesNotContain(Canary, error.Message, StringComparison.Ordinal);

        (string, string)[] postgres =
        [
            ("Scheduler:Group", "g"),
            ("Scheduler:State:Backend", "postgres"),
            ("Scheduler:State:ConnectionString", "Host=a"),
            ("Scheduler:State:Schema", "other"),
        ];
        (string, string)[] sources = [.. Sender.Settings.Select(s => (s.Key, s.Value!))];
        bool Warns(params (string, string)[] more) =>
            Read([.. postgres, .. more]).Warnings.Any(w => w.StartsWith("Scheduler:State:", StringComparison.Ordinal));
        Assert.True(Warns(sources));
        Assert.False(Warns());
        Assert.False(Warns([.. sources, (Key, "Host=b")]));
        Assert.Contains(
            Assert.Throws<SettingsException>(() => Read([.. postgres, (Key, "Host=b,c")])).Errors,
            e => e.StartsWith(Key, StringComparison.Ordinal) && e.Contains("several hosts", StringComparison.Ordinal)
        );
    }

    [Fact]
    public void Endpoints_beside_a_backend_that_has_none_are_refused()
    {
        var error = Assert.Throws<SettingsException>(() => Read(("Scheduler:Locks:Endpoints:0", "a:1")));
        Assert.Contains(
            error.Errors,
            e => e.Contains("'sqlite' is found by ConnectionString; remove them or choose 'redlock'", StringComparison.Ordinal)
        );
    }

    [Fact]
    public void Three_endpoints_of_redlock_need_a_group_and_nothing_else()
    {
        (string, string)[] servers =
        [
            ("Scheduler:Locks:Backend", "redlock"),
            .. "abc".Select((c, i) => ($"Scheduler:Locks:Endpoints:{i}", $"{c}:1")),
        ];
        Assert.Contains(
            "Scheduler:Group is missing",
            Assert.Throws<SettingsException>(() => Read(servers)).Message,
            StringComparison.Ordinal
        );
        Assert.Equal(3, Read([.. servers, ("Scheduler:Group", "g")]).Scheduler.Locks.Endpoints.Count);
    }

    [Fact]
    public void A_missing_placeholder_is_named_with_its_trigger()
    {
        var error = RefusedJob(nameof(LongJob), ("Triggers:0:Name", "t"), ("Triggers:0:Every", "00:00:05"));
        Assert.Contains("Scheduler:Jobs:LongJob:Triggers:t:Data", error, StringComparison.Ordinal);
        Assert.Contains("who", error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_key_over_512_bytes_is_refused_with_its_length()
    {
        var error = RefusedJob(nameof(LongJob), ("Every", "00:00:05"), ("Data:who", new string('é', 200)));
        Assert.Contains("512", error, StringComparison.Ordinal);
        // "long:" and 200 letters of two bytes, each byte encoded as three characters.
        Assert.Contains("1205", error, StringComparison.Ordinal);
    }

    [Fact]
    public void An_empty_value_for_a_placeholder_is_refused() =>
        Assert.Contains("who", RefusedJob(nameof(LongJob), ("Every", "00:00:05"), ("Data:who", "")), StringComparison.Ordinal);

    [Fact]
    public void A_class_without_attribute_is_refused_once_with_both_ways_out()
    {
        var error = RefusedJob(nameof(ForgottenJob), ("Every", "00:00:05"));
        Assert.Contains(
            "Scheduler:Jobs:ForgottenJob: ForgottenJob has neither [SingleInstance] nor [EveryReplica]",
            error,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void An_unknown_time_zone_is_refused() =>
        Assert.Contains(
            "'Mars/Base'",
            RefusedJob(nameof(TalkingJob), ("Cron", "0 0 2 * * ?"), ("TimeZone", "Mars/Base")),
            StringComparison.Ordinal
        );

    [Fact]
    public void Good_configuration_passes() => Assert.Single(Read(("Scheduler:Jobs:SettlePayouts:Every", "00:00:05")).Jobs);

    [Fact]
    public void All_errors_come_together_and_none_shows_a_secret()
    {
        const string Job = "Scheduler:Jobs:SettlePayouts:Triggers:";
        var error = Assert.Throws<SettingsException>(() =>
            Read(
                ("Scheduler:Locks:Backend", "redis"),
                ("Scheduler:Locks:ConnectionString", $"Data Source=x;Password={Canary}"),
                ("Scheduler:State:ConnectionString", $"Password={Canary}"),
                ("Payments:Database", $"Password={Canary}"),
                (Job + "0:Name", "a"),
                (Job + "0:Cron", "0 0 2 * * ?"),
                (Job + "0:Every", "00:00:05"),
                (Job + "1:Name", "a"),
                (Job + "1:Cron", "0 0 2 * * ?"),
                (Job + "1:TimeZone", "Mars/Base")
            )
        );
        string[] expected =
        [
            "Scheduler:Group is missing",
            "Scheduler:Locks:ConnectionString",
            "Scheduler:State:ConnectionString",
            "Payments:Database",
            "give exactly one",
            "another trigger of the job has",
            "'Mars/Base'",
        ];
        Assert.All(expected, e => Assert.Contains(e, error.Message, StringComparison.Ordinal));
        Assert.DoesNotContain(Canary, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Unknown_commands_and_options_are_wrong_use()
    {
        var errors = new StringWriter();
        Assert.Equal(2, await Commands.RunAsync(["rnu"], TextWriter.Null, errors));
        Assert.Equal(2, await Commands.RunAsync([$"--secret={Canary}"], TextWriter.Null, errors));
        Assert.Contains("'rnu'", errors.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain(Canary, errors.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_executable_ends_with_2_before_any_job_ran()
    {
        var folder = Directory.CreateTempSubdirectory("scheduler-bad-");
        try
        {
            await File.WriteAllTextAsync(
                Path.Combine(folder.FullName, "appsettings.json"),
                """
                { "Scheduler": {
                    "Jobs": {
                        "Nope": { "Every": "00:00:01" },
                        "one": { "Type": "SettlePayouts", "Every": "00:00:05", "FormerNames": [ "two" ] },
                        "two": { "Type": "SettlePayouts", "Every": "00:00:05", "CatchUpLimit": 10001 } },
                    "Locks": { "Backend": "x" } } }
                """
            );
            var start = new ProcessStartInfo("dotnet")
            {
                WorkingDirectory = folder.FullName,
                RedirectStandardError = true,
                UseShellExecute = false,
            };
            start.ArgumentList.Add(typeof(Commands).Assembly.Location);
            using var process = Process.Start(start)!;
            var text = await process.StandardError.ReadToEndAsync().WaitAsync(TimeSpan.FromSeconds(60));
            await process.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(60));
            Assert.Equal(2, process.ExitCode);
            Assert.Contains("'Nope'", text, StringComparison.Ordinal);
            Assert.Contains("'x'", text, StringComparison.Ordinal);
            Assert.Contains("Scheduler:Jobs:one:FormerNames: 'two' is a name of the job 'two' too", text, StringComparison.Ordinal);
            Assert.Contains("Scheduler:Jobs:two:CatchUpLimit is 10001; allowed is 1 to 10000", text, StringComparison.Ordinal);
            Assert.False(Directory.Exists(Path.Combine(folder.FullName, "data")));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public void The_file_in_the_root_has_every_option_with_its_default()
    {
        var root = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(root, "Scheduler.sln")))
        {
            root = Path.GetDirectoryName(root)!;
        }
        var file = new ConfigurationBuilder().AddJsonFile(Path.Combine(root, "appsettings.json")).Build();
        var settings = Settings.Read(file);
        var jobs = settings.Scheduler.Jobs;
        Assert.Equal(7, settings.Jobs.Count);
        jobs.Clear();
        Assert.Equivalent(new SchedulerOptions(), settings.Scheduler, strict: true);
        Assert.Equivalent(new LogOptions(), settings.Logs, strict: true);
        Assert.Equivalent(new global::Payments.Jobs.PaymentsOptions(), settings.Payments, strict: true);
        foreach (
            var (type, section) in new[]
            {
                (typeof(LocksOptions), "Locks"),
                (typeof(StateOptions), "State"),
                (typeof(WebhooksOptions), "Webhooks"),
                (typeof(IngressOptions), "Ingress"),
                (typeof(OperationsOptions), "Operations"),
            }
        )
        {
            var known = file.GetSection($"Scheduler:{section}").GetChildren().Select(c => c.Key);
            Assert.Equal(type.GetProperties().Select(p => p.Name).Order(StringComparer.Ordinal), known.Order(StringComparer.Ordinal));
        }
    }

    [Fact]
    public void Wrong_settings_of_webhooks_are_named_all_together_without_their_secrets()
    {
        const string Source = "Scheduler:Webhooks:Sources:payments";
        var errors = Assert
            .Throws<SettingsException>(() =>
                Read(
                    ("Scheduler:State:Backend", "none"),
                    ("Scheduler:Webhooks:Degree", "501"),
                    ("Scheduler:Ingress:Urls", "http://127.0.0.1:9090"),
                    ($"{Source}:Scheme", "stripe"),
                    ("Scheduler:Webhooks:Sources:others:Scheme", "github"),
                    ("Scheduler:Webhooks:Sources:others:Secrets:0", "short-s"),
                    ("Scheduler:Webhooks:Sources:others:MaxBodyBytes", "5"),
                    ("Scheduler:Webhooks:Sources:others:MaxAttempts", "0"),
                    ("Scheduler:Webhooks:Sources:others:RetryDelay", "-00:00:01"),
                    ("Scheduler:Webhooks:Sources:others:RetryMaxDelay", "8.00:00:00")
                )
            )
            .Errors;
        Assert.Contains(errors, e => e.StartsWith($"{Source} has no secret", StringComparison.Ordinal));
        Assert.Contains(errors, e => e.Contains("State:Backend is 'none'; events are kept in State", StringComparison.Ordinal));
        Assert.Contains(errors, e => e.StartsWith("Scheduler:Webhooks:Degree is 501; allowed is 1 to 500", StringComparison.Ordinal));
        Assert.Contains(errors, e => e.Contains("with port 9090 of Operations", StringComparison.Ordinal));
        Assert.Contains(errors, e => e.Contains("others:MaxBodyBytes is 5", StringComparison.Ordinal));
        foreach (var key in (string[])["MaxAttempts is 0", "RetryDelay is -00:00:01", "RetryMaxDelay is 8.00:00:00"])
        {
            Assert.Contains(errors, e => e.StartsWith($"Scheduler:Webhooks:Sources:others:{key}; allowed is", StringComparison.Ordinal));
        }
        Assert.DoesNotContain(errors, e => e.Contains("short-s", StringComparison.Ordinal));
    }

    private static Settings Read(params (string Key, string Value)[] values)
    {
        var pairs = values.Select(v => KeyValuePair.Create(v.Key, (string?)v.Value));
        return Settings.Read(new ConfigurationBuilder().AddInMemoryCollection(pairs).Build());
    }

    // The one error of a job of this assembly.
    private static string RefusedJob(string job, params (string Key, string Value)[] values) =>
        Assert.Single(
            Assert
                .Throws<SettingsException>(() =>
                    Read([
                        ("Scheduler:JobAssemblies:0", typeof(BadInputTests).Assembly.GetName().Name!),
                        .. values.Select(v => ($"Scheduler:Jobs:{job}:{v.Key}", v.Value)),
                    ])
                )
                .Errors
        );
}
