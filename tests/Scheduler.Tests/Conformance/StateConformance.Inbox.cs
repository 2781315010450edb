using System.Data.Common;
using System.Security.Cryptography;
using System.Text;
using Scheduler.Inbox;
using Scheduler.Sqlite;

namespace Scheduler.Tests.Conformance;

// The events that senders delivered.
public abstract partial class StateConformance
{
    private static readonly TimeSpan Hold = TimeSpan.FromSeconds(10);

    [Fact]
    public async Task An_arrival_is_stored_once_and_shown()
    {
        var arrival = Arrival("1", eventId: "msg_1");
        var stored = await AddAsync(arrival);
        Assert.Equal((InboxOutcome.Stored, InboxState.Received), (stored.Outcome, stored.State));
        Assert.Equal(new InboxAnswer(InboxOutcome.Duplicate, stored.Id, InboxState.Received), await AddAsync(arrival));

        var shown = (await _state.Inbox.FindAsync(stored.Id, Cancel))!;
        Assert.Equal(("payments", "payment.succeeded:1", "1", "msg_1"), (shown.Source, shown.DedupeKey, shown.OrderKey, shown.EventId));
        Assert.Equal((arrival.ReceivedAt, arrival.Body.Length, 0), (shown.ReceivedAt, shown.BodyBytes, shown.Attempts));
        Assert.Equal(shown, Assert.Single(await ListAsync()));
        Assert.Null(await _state.Inbox.FindAsync("no-such-id", Cancel));
        var other = await OpenAsync("b");
        Assert.Null(await other.Inbox.FindAsync(stored.Id, Cancel));
        Assert.Equal(InboxOutcome.Stored, (await other.Inbox.AddAsync([arrival], Cancel))[0].Outcome);
    }

    [Fact]
    public async Task Equal_keys_with_equal_content_are_a_duplicate_and_with_other_content_a_conflict()
    {
        var first = await AddAsync(Arrival("1", eventId: "msg_1", content: "a"));
        // Of equal bytes, or of equal canonical content under other bytes.
        Assert.Equal(InboxOutcome.Duplicate, (await AddAsync(Arrival("1", eventId: "msg_2", content: "a"))).Outcome);
        Assert.Equal(InboxOutcome.Duplicate, (await AddAsync(Arrival("1", content: "b") with { ContentHash = Hash("a") })).Outcome);

        var conflict = await AddAsync(Arrival("1", eventId: "msg_3", content: "b"));
        Assert.Equal(new InboxAnswer(InboxOutcome.Conflict, first.Id, InboxState.Received), conflict);
        var kept = Assert.Single(await ListAsync(InboxState.Conflict));
        Assert.Equal((first.Id, "payment.succeeded:1", "msg_3"), (kept.ConflictsWith, kept.DedupeKey, kept.EventId));
        // Its repetition is a duplicate of it.
        Assert.Equal(
            new InboxAnswer(InboxOutcome.Duplicate, kept.Id, InboxState.Conflict),
            await AddAsync(Arrival("1", eventId: "msg_3", content: "b"))
        );
        // Its event id is nobody's: what the first has alone counts.
        Assert.Equal(InboxOutcome.Stored, (await AddAsync(Arrival("2", eventId: "msg_3", content: "c"))).Outcome);
        // The event id of one event and the dedupe key of another.
        Assert.Equal(InboxOutcome.Conflict, (await AddAsync(Arrival("2", eventId: "msg_1", content: "c"))).Outcome);
        Assert.Equal(2, (await ListAsync(InboxState.Conflict)).Count);
    }

    [Fact]
    public async Task The_body_is_a_key_where_nothing_else_is_signed()
    {
        var first = await AddAsync(Arrival("1", content: "same") with { IsBodyUnique = true });
        Assert.Equal(
            new InboxAnswer(InboxOutcome.Duplicate, first.Id, InboxState.Received),
            await AddAsync(Arrival("2", content: "same") with { IsBodyUnique = true })
        );
        Assert.Equal(InboxOutcome.Stored, (await AddAsync(Arrival("3", content: "same"))).Outcome);

        var unreadable = Arrival("", content: "{") with
        {
            State = InboxState.Quarantined,
            DedupeKey = null,
            OrderKey = null,
            Reason = "no JSON",
        };
        var quarantined = await AddAsync(unreadable);
        Assert.Equal((InboxOutcome.Stored, InboxState.Quarantined), (quarantined.Outcome, quarantined.State));
        Assert.Equal(new InboxAnswer(InboxOutcome.Duplicate, quarantined.Id, InboxState.Quarantined), await AddAsync(unreadable));
        Assert.Equal("no JSON", (await _state.Inbox.FindAsync(quarantined.Id, Cancel))!.Error);
        Assert.DoesNotContain(await ClaimAsync(), c => c.Event.Id == quarantined.Id);
    }

    [Fact]
    public async Task Copies_and_contradictions_within_a_batch_meet_the_first_of_it()
    {
        var answers = await _state.Inbox.AddAsync(
            [
                Arrival("1", content: "a"),
                Arrival("2", content: "x") with
                {
                    State = InboxState.Ignored,
                },
                Arrival("1", content: "a"),
                Arrival("1", content: "b"),
                Arrival("1", content: "b"),
            ],
            Cancel
        );
        Assert.Equal(
            [InboxOutcome.Stored, InboxOutcome.Stored, InboxOutcome.Duplicate, InboxOutcome.Conflict, InboxOutcome.Duplicate],
            answers.Select(a => a.Outcome)
        );
        Assert.Equal(answers[0].Id, answers[2].Id);
        Assert.Equal(3, (await ListAsync()).Count);
        Assert.Equal(InboxState.Ignored, (await _state.Inbox.FindAsync(answers[1].Id, Cancel))!.State);
    }

    [Fact]
    public async Task What_is_known_by_its_event_id_or_body_alone_keeps_nothing_of_its_batch_back()
    {
        await AddAsync(Arrival("1", eventId: "msg_1", content: "a"));
        await AddAsync(Arrival("2", content: "b") with { IsBodyUnique = true });
        var answers = await _state.Inbox.AddAsync(
            [
                Arrival("9"),
                Arrival("8", eventId: "msg_1", content: "a"),
                Arrival("7", content: "b") with
                {
                    IsBodyUnique = true,
                },
                Arrival("5", eventId: "msg_5"),
                Arrival("6", eventId: "msg_5"),
                Arrival("4"),
            ],
            Cancel
        );
        Assert.Equal(
            [
                InboxOutcome.Stored,
                InboxOutcome.Duplicate,
                InboxOutcome.Duplicate,
                InboxOutcome.Stored,
                InboxOutcome.Conflict,
                InboxOutcome.Stored,
            ],
            answers.Select(a => a.Outcome)
        );
        var stored = (await ListAsync()).Where(e => e.State == InboxState.Received).OrderBy(e => e.Number);
        Assert.Equal(["1", "2", "9", "5", "4"], stored.Select(e => e.OrderKey));
    }

    [Fact]
    public async Task Numbers_are_in_the_order_of_arrival()
    {
        var ids = new List<string>();
        for (var batch = 0; batch < 3; batch++)
        {
            var offset = batch * 10;
            // Keys in the opposite order.
            var arrivals = Enumerable.Range(0, 10).Select(i => Arrival($"{999 - offset - i}")).ToList();
            ids.AddRange((await _state.Inbox.AddAsync(arrivals, Cancel)).Select(a => a.Id));
        }
        Assert.Equal(ids, (await ListAsync()).OrderBy(e => e.Number).Select(e => e.Id));
    }

    [Fact]
    public async Task No_more_contradictions_of_an_event_are_kept_than_the_bound()
    {
        var first = await AddAsync(Arrival("1", content: "a"));
        for (var i = 0; i < IInbox.MaxConflicts + 3; i++)
        {
            var answer = await AddAsync(Arrival("1", content: $"other {i}"));
            Assert.Equal((InboxOutcome.Conflict, first.Id), (answer.Outcome, answer.Id));
        }
        Assert.Equal(IInbox.MaxConflicts, (await ListAsync(InboxState.Conflict)).Count);
    }

    [Fact]
    public async Task Contradictions_within_a_batch_are_kept_up_to_the_bound_and_known_afterwards()
    {
        await _state.Inbox.AddAsync([Arrival("1", content: "a"), Arrival("2", content: "a")], Cancel);
        // The one after the bound is of another event.
        var batch = Enumerable.Range(0, IInbox.MaxConflicts + 30).Select(i => Arrival("1", content: $"other {i}")).ToList();
        batch.AddRange([Arrival("2", content: "b"), Arrival("2", content: "b"), Arrival("3", content: "c")]);
        var answers = (await _state.Inbox.AddAsync(batch, Cancel)).Select(a => a.Outcome).ToList();
        Assert.All(answers.Take(IInbox.MaxConflicts + 31), o => Assert.Equal(InboxOutcome.Conflict, o));
        Assert.Equal([InboxOutcome.Duplicate, InboxOutcome.Stored], answers.Skip(IInbox.MaxConflicts + 31));
        Assert.Equal(IInbox.MaxConflicts + 1, (await ListAsync(InboxState.Conflict)).Count);

        answers = (await _state.Inbox.AddAsync(batch, Cancel)).Select(a => a.Outcome).ToList();
        Assert.All(answers.Take(IInbox.MaxConflicts), o => Assert.Equal(InboxOutcome.Duplicate, o));
        Assert.All(answers.Skip(IInbox.MaxConflicts).Take(30), o => Assert.Equal(InboxOutcome.Conflict, o));
        Assert.Equal(IInbox.MaxConflicts + 1, (await ListAsync(InboxState.Conflict)).Count);
    }

    [Fact]
    public async Task Of_many_that_store_the_same_events_at_once_one_stores_each()
    {
        var others = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => OpenAsync("a")));
        var arrivals = Enumerable.Range(0, 100).Select(i => Arrival($"{i}", eventId: $"msg_{i}")).ToList();
        var answers = await Task.WhenAll(
            others.Select(
                (state, n) =>
                    Task.Run(async () =>
                    {
                        var shuffled = arrivals.OrderBy(a => Hash($"{n} {a.DedupeKey}")[0]).ToList();
                        return await state.Inbox.AddAsync(shuffled, Cancel);
                    })
            )
        );
        Assert.Equal(100, answers.Sum(a => a.Count(x => x.Outcome == InboxOutcome.Stored)));
        Assert.Equal(300, answers.Sum(a => a.Count(x => x.Outcome == InboxOutcome.Duplicate)));
        Assert.Equal(100, (await ListAsync()).Count);
    }

    [Fact]
    public async Task Only_the_first_unfinished_event_of_an_order_is_taken()
    {
        await _state.Inbox.AddAsync([Arrival("1", type: "a"), Arrival("1", type: "b"), Arrival("2", type: "a")], Cancel);
        var taken = await ClaimAsync();
        Assert.Equal(["a:1", "a:2"], taken.Select(c => c.Event.DedupeKey));
        Assert.All(taken, c => Assert.Equal((InboxState.Processing, 1, "replica"), (c.Event.State, c.Event.Attempts, c.Event.Replica)));
        Assert.Equal("{\"orderId\":1}", Encoding.UTF8.GetString(taken[0].Body));
        Assert.Empty(await ClaimAsync());

        Assert.Equal([true], await FinishAsync(taken[0], InboxState.Done));
        var next = Assert.Single(await ClaimAsync());
        Assert.Equal("b:1", next.Event.DedupeKey);
        var done = (await _state.Inbox.FindAsync(taken[0].Event.Id, Cancel))!;
        Assert.Equal((InboxState.Done, (DateTimeOffset?)null), (done.State, done.DueAt));
        Assert.NotNull(done.FinishedAt);
        // Whoever is not the newest attempt writes nothing.
        Assert.Equal([false], await FinishAsync(taken[0], InboxState.Dead));
    }

    [Fact]
    public async Task An_event_that_nobody_finishes_is_taken_by_another_one_in_time()
    {
        await AddAsync(Arrival("1"));
        var first = Assert.Single(await ClaimAsync());
        await _fixture.AgeAsync(Hold);
        var second = Assert.Single(await ClaimAsync());
        Assert.Equal((2, 2), (second.Event.Attempts, second.Event.Counted));
        Assert.Equal([false], await FinishAsync(first, InboxState.Done));
        Assert.Equal([true], await FinishAsync(second, InboxState.Done));
    }

    [Fact]
    public async Task The_end_of_an_attempt_commits_with_a_transaction_of_the_caller_or_not_at_all()
    {
        await AddAsync(Arrival("1"));
        var first = Assert.Single(await ClaimAsync());
        await using var source = _fixture.OpenBeside();

        Assert.True(await FinishBesideAsync(source, first, commits: false));
        Assert.Equal(InboxState.Processing, (await _state.Inbox.FindAsync(first.Event.Id, Cancel))!.State);

        await _fixture.AgeAsync(Hold);
        var second = Assert.Single(await ClaimAsync());
        var late = await Assert.ThrowsAsync<EventTakenUpException>(() => FinishBesideAsync(source, first, commits: true));
        Assert.Equal((first.Event.Id, 1), (late.EventId, late.Attempt));

        Assert.True(await FinishBesideAsync(source, second, commits: true));
        var done = (await _state.Inbox.FindAsync(first.Event.Id, Cancel))!;
        Assert.Equal((InboxState.Done, (DateTimeOffset?)null), (done.State, done.DueAt));
        Assert.NotNull(done.FinishedAt);
        await Assert.ThrowsAsync<EventTakenUpException>(() => FinishBesideAsync(source, second, commits: true));
    }

    [Fact]
    public async Task In_a_transaction_on_another_database_no_end_is_written()
    {
        await AddAsync(Arrival("1"));
        var claim = Assert.Single(await ClaimAsync());
        var folder = Directory.CreateTempSubdirectory("elsewhere-");
        await using (var source = SqliteDatabase.Create($"Data Source={folder.FullName}/app.db"))
        {
            Assert.False(await FinishBesideAsync(source, claim, commits: true));
        }
        folder.Delete(recursive: true);
        Assert.Equal(InboxState.Processing, (await _state.Inbox.FindAsync(claim.Event.Id, Cancel))!.State);
        Assert.Equal([true], await FinishAsync(claim, InboxState.Done));
    }

    [Fact]
    public async Task A_failed_event_comes_back_after_its_time_and_holds_its_order_back()
    {
        await _state.Inbox.AddAsync([Arrival("1", type: "a"), Arrival("1", type: "b")], Cancel);
        var first = Assert.Single(await ClaimAsync());
        await FinishAsync(first, InboxState.Failed, TimeSpan.FromSeconds(5), "broken");
        Assert.Empty(await ClaimAsync());
        var failed = (await _state.Inbox.FindAsync(first.Event.Id, Cancel))!;
        Assert.Equal((InboxState.Failed, "broken", 1), (failed.State, failed.Error, failed.Counted));

        await _fixture.AgeAsync(TimeSpan.FromSeconds(5));
        var again = Assert.Single(await ClaimAsync());
        Assert.Equal((first.Event.Id, 2), (again.Event.Id, again.Event.Attempts));
        // It asks to come again; that counts for nothing.
        await _state.Inbox.FinishAsync([new(again.Event.Id, 2, InboxState.Received, TimeSpan.FromSeconds(1), null, Counts: false)], Cancel);
        Assert.Equal(1, (await _state.Inbox.FindAsync(first.Event.Id, Cancel))!.Counted);
    }

    [Fact]
    public async Task An_error_text_is_kept_as_far_as_it_can_be()
    {
        await AddAsync(Arrival("1"));
        var claim = Assert.Single(await ClaimAsync());
        Assert.Equal([true], await FinishAsync(claim, InboxState.Dead, error: "broken \0 \ud800"));
        var dead = (await _state.Inbox.FindAsync(claim.Event.Id, Cancel))!;
        Assert.Equal(InboxState.Dead, dead.State);
        Assert.StartsWith("broken ", dead.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_dead_or_contradicting_event_holds_its_order_back_where_that_is_wanted()
    {
        await _state.Inbox.AddAsync([Arrival("1", type: "a"), Arrival("1", type: "b"), Arrival("2", type: "a")], Cancel);
        var taken = await ClaimAsync();
        await FinishAsync(taken[0], InboxState.Dead, error: "broken");
        await FinishAsync(taken[1], InboxState.Done);
        await AddAsync(Arrival("2", type: "a", content: "other"));
        await AddAsync(Arrival("2", type: "b"));

        Assert.Empty(await ClaimAsync());
        var goOn = await ClaimAsync(goOn: ["payments"]);
        Assert.Equal(["b:1", "b:2"], goOn.Select(c => c.Event.DedupeKey));
    }

    [Fact]
    public async Task Events_of_other_sources_and_more_than_asked_for_are_left()
    {
        await _state.Inbox.AddAsync([.. Enumerable.Range(0, 5).Select(i => Arrival($"{i}"))], Cancel);
        Assert.Empty(await _state.Inbox.ClaimAsync(new("replica", Kinds("others"), 10, Hold), Cancel));
        Assert.Equal(["0", "1"], (await ClaimAsync(limit: 2)).Select(c => c.Event.OrderKey));
        Assert.Equal(["2", "3", "4"], (await ClaimAsync()).Select(c => c.Event.OrderKey));
    }

    [Fact]
    public async Task What_no_inbox_keeps_is_refused()
    {
        foreach (
            var wrong in (InboxArrival[])
                [
                    Arrival("1") with
                    {
                        State = InboxState.Done,
                    },
                    Arrival("1") with
                    {
                        OrderKey = null,
                    },
                    Arrival("1") with
                    {
                        BodyHash = [1],
                    },
                    Arrival("1") with
                    {
                        Source = "",
                    },
                    Arrival("1") with
                    {
                        DedupeKey = new string('x', 401),
                    },
                ]
        )
        {
            await Assert.ThrowsAsync<ArgumentException>(async () => await _state.Inbox.AddAsync([Arrival("2"), wrong], Cancel));
        }
        Assert.Empty(await ListAsync());
    }

    private static InboxArrival Arrival(string order, string type = "payment.succeeded", string? eventId = null, string? content = null) =>
        new()
        {
            Source = "payments",
            EventId = eventId,
            Type = type,
            DedupeKey = $"{type}:{order}",
            OrderKey = order.Length == 0 ? null : order,
            BodyHash = Hash(content ?? $"{type} {order}"),
            ContentHash = Hash(content ?? $"{type} {order}"),
            Body = Encoding.UTF8.GetBytes($"{{\"orderId\":{order}}}"),
            ReceivedAt = Noon,
        };

    private static byte[] Hash(string text) => SHA256.HashData(Encoding.UTF8.GetBytes(text));

    private async Task<bool> FinishBesideAsync(DbDataSource source, InboxClaim claim, bool commits)
    {
        await using var connection = await source.OpenConnectionAsync(Cancel);
        await using var transaction = await connection.BeginTransactionAsync(Cancel);
        var isWritten = await _state.Inbox.FinishWithinAsync(
            transaction,
            new(claim.Event.Id, claim.Event.Attempts, InboxState.Done),
            Cancel
        );
        if (commits)
        {
            await transaction.CommitAsync(Cancel);
        }
        return isWritten;
    }

    private async Task<InboxAnswer> AddAsync(InboxArrival arrival) => (await _state.Inbox.AddAsync([arrival], Cancel))[0];

    private async Task<IReadOnlyList<InboxEvent>> ListAsync(InboxState? state = null) =>
        (await _state.Inbox.ListAsync(new InboxQuery(State: state, Limit: 1_000), Cancel)).Items;

    private async Task<IReadOnlyList<InboxClaim>> ClaimAsync(int limit = 100, IReadOnlyList<string>? goOn = null) =>
        await _state.Inbox.ClaimAsync(new("replica", Kinds(goOn: goOn is not null), limit, Hold), Cancel);

    private static List<InboxKind> Kinds(string source = "payments", bool goOn = false) =>
        [.. new[] { "payment.succeeded", "a", "b", "later", "" }.Select(type => new InboxKind(source, type, goOn))];

    private async Task<IReadOnlyList<bool>> FinishAsync(
        InboxClaim claim,
        InboxState state,
        TimeSpan after = default,
        string? error = null
    ) => await _state.Inbox.FinishAsync([new(claim.Event.Id, claim.Event.Attempts, state, after, error)], Cancel);
}
