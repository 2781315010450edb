using Scheduler.Testing.Webhooks;

namespace Scheduler.Tests.Bench;

/// <summary>What the check of the soak finds: each way in which the tables may differ from what the senders were told.</summary>
public sealed class SoakCheckTests
{
    private readonly List<SentEvent> _events = [Sent("a", 1), Sent("a", 2), Sent("b", 1)];
    private readonly List<string> _conflicts = [];
    private readonly List<InboxRow> _rows = [Row(1, "a", 1), Row(2, "a", 2), Row(3, "b", 1)];
    private readonly List<EffectRow> _effects = [Effect(1, 1, "a", 1), Effect(2, 3, "b", 1), Effect(3, 2, "a", 2)];
    private readonly List<string> _findings = [];

    [Fact]
    public void Nothing_is_found_where_each_event_has_one_row_and_one_effect_in_its_order()
    {
        Assert.Equal(new SoakCheck(0, 0, 0, 0, 0, 0), Compare());
        Assert.Empty(_findings);
    }

    [Fact]
    public void An_event_without_a_row_or_an_effect_is_lost()
    {
        _rows.RemoveAt(2);
        _effects.RemoveAt(0);

        Assert.Equal(2, Compare().Lost);
        Assert.Equal(2, _findings.Count);
    }

    [Fact]
    public void An_event_that_is_not_done_is_lost()
    {
        _rows[1] = _rows[1] with { State = "dead" };

        Assert.Equal(1, Compare().Lost);
    }

    [Fact]
    public void A_second_row_or_effect_is_a_double()
    {
        _rows.Add(Row(4, "b", 1));
        _effects.Add(Effect(4, 2, "a", 2));

        Assert.Equal(2, Compare().Doubled);
    }

    [Fact]
    public void An_effect_before_that_of_an_earlier_event_of_its_order_is_found()
    {
        _effects[0] = Effect(1, 2, "a", 2);
        _effects[2] = Effect(3, 1, "a", 1);

        Assert.Equal(1, Compare().OutOfOrder);
    }

    [Fact]
    public void A_number_smaller_than_that_of_an_event_that_was_answered_before_is_found()
    {
        _rows[0] = _rows[0] with { Number = 5 };

        Assert.Equal(1, Compare().OutOfOrder);
    }

    [Fact]
    public void A_row_and_an_effect_of_what_was_refused_are_of_nobody()
    {
        _rows.Add(Row(4, SoakTraffic.Forged, 1));
        _effects.Add(Effect(4, 4, SoakTraffic.Forged, 1));

        Assert.Equal(2, Compare().Unfounded);
    }

    [Fact]
    public void An_event_is_answered_as_accepted_once_unless_an_answer_was_lost()
    {
        _events[0].Note(Accepted);
        _events[1] = new SentEvent(_events[1].Id, "a", 2);
        _events[2] = new SentEvent(_events[2].Id, "b", 1);
        _events[2].Note(new Receipt(200, """{"status":"duplicate"}""", Unknown: 1));

        Assert.Equal(2, Compare().Unanswered);
        Assert.DoesNotContain(_findings, f => f.Contains(_events[2].Id, StringComparison.Ordinal));
    }

    [Fact]
    public void A_contradiction_is_kept_once_and_is_no_row_of_its_event()
    {
        _conflicts.AddRange(["evt_a_2_other", "other-b", "missing"]);
        _rows.Add(new InboxRow(4, "conflict", "evt_a_2_other", "a"));
        _rows.Add(new InboxRow(5, "conflict", "evt_b_1", "other-b"));
        _rows.Add(new InboxRow(6, "conflict", "evt_b_1", "other-b"));

        var check = Compare();

        Assert.Equal(2, check.Contradictions);
        Assert.Equal(0, check.Doubled);
    }

    private static Receipt Accepted { get; } = new(202, """{"status":"accepted","id":"1"}""", Unknown: 0);

    private SoakCheck Compare() => SoakCheck.Compare(_events, _conflicts, _rows, _effects, _findings.Add);

    private static SentEvent Sent(string order, int step)
    {
        var sent = new SentEvent($"evt_{order}_{step}", order, step);
        sent.Note(Accepted);
        return sent;
    }

    private static InboxRow Row(long number, string order, int step) => new(number, "done", $"evt_{order}_{step}", order);

    private static EffectRow Effect(long seq, long number, string order, int step) =>
        new(seq, order, $"evt_{order}_{step}", number, "replica");
}
